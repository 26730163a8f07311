// Generated from octopus_hub/model by `make generate`; do not edit.
// A field that has its default is left out on the wire; the default stands beside the field.

/** One frame of a stream: everything (a snapshot) or full rows of what changed (a delta). */
export interface Frame {
  revision: number;
  snapshot?: boolean; // false
  tasksets?: TaskSet[]; // []
  tasks?: Task[]; // []
  nodes?: Node[]; // []
  places?: { [key: string]: QueuePlace }; // {}
  removed?: Removed; // {}
}

/** A distributed job: roles x replicas. Flat form: `TaskSet("mnist", roles=[...], framework="pytorch")`. */
export interface TaskSet {
  apiVersion?: string; // "octopus-hub.io/v1alpha1"
  kind?: string; // "TaskSet"
  metadata: Metadata;
  spec?: Spec; // {}
  resolved?: Resolved; // {}
  status?: Status; // {}
}

/** Identity. `namespace`, `uid`, times and intents are set by the service, never by a submitter. */
export interface Metadata {
  name: string;
  namespace?: string; // ""
  uid?: string; // ""
  labels?: { [key: string]: string }; // {}
  annotations?: { [key: string]: string }; // {}
  createdAt?: number; // 0.0
  owner?: string; // ""
  groups?: string[]; // []
  exactName?: boolean; // false
  stopRequestedAt?: number | null;
  stopReason?: string; // ""
  deletionRequestedAt?: number | null;
  sizes?: { [key: string]: number }; // {}
  scaledAt?: number | null;
  version?: number; // 0
}

/** What shall run. */
export interface Spec {
  roles?: Role[]; // []
  queue?: string; // ""
  priority?: string; // "normal"
  hold?: boolean; // false
  after?: After[]; // []
  framework?: string; // "script"
  gang?: Gang; // {}
  placement?: GangPlacement; // {}
  lifetime?: Lifetime; // {}
  preemption?: PreemptionSpec; // {}
  workspace?: Workspace; // {}
  inputs?: Input[]; // []
  outputs?: string[]; // []
  run?: RunSpec | null;
  seed?: number | null;
}

/** A group of equal tasks. Flat form: `Role("worker", replicas=3, devices={"gpu": 1}, command=[...])`. */
export interface Role {
  name: string;
  replicas?: number | ElasticReplicas; // 1
  main?: boolean; // false
  image?: string; // ""
  command?: string[]; // []
  args?: string[]; // []
  env?: { [key: string]: string }; // {}
  secrets?: { [key: string]: string }; // {}
  workingDir?: string; // ""
  resources?: Resources; // {}
  volumes?: Volume[]; // []
  ports?: Port[]; // []
  completion?: Completion; // {}
  restart?: Restart; // {}
  events?: RoleEvent[]; // []
  placement?: PlacementPreferences; // {}
  template?: { [key: string]: unknown }; // {}
}

/** Bounds of an elastic role: the gang starts with `min` tasks or more, and grows while there is room. */
export interface ElasticReplicas {
  min: number;
  max: number;
}

/** What one task of a role asks for. Quantities are canonical strings (`500m`, `8Gi`) after parsing. */
export interface Resources {
  cpu?: string; // "100m"
  memory?: string; // "256Mi"
  devices?: { [key: string]: number }; // {}
  shm?: string; // "1Gi"
}

/** A storage volume of a kind that a storage descriptor defines (`scratch`, `folder`, later `pvc`). */
export interface Volume {
  kind: string;
  name: string;
  mountPath: string;
  readOnly?: boolean; // false
  parameters?: { [key: string]: string }; // {}
}

/** A named port. `port` is the wished number on a cluster; on one machine a reserved one is given. */
export interface Port {
  name: string;
  port?: number | null;
}

/** When a role succeeds or fails (design, law 3). */
export interface Completion {
  minSucceeded?: number | null;
  maxFailed?: number; // 0
}

/** What restarts when a task fails, how often, after which delay (doubled per restart, with jitter). */
export interface Restart {
  scope?: "gang" | "never" | "role" | "task"; // "never"
  maxRestarts?: number; // 3
  delaySeconds?: number; // 10.0
}

/** A rule that overrides the default verdict: on a role's end, do this. */
export interface RoleEvent {
  on: "RoleCompleted" | "RoleFailed" | "RoleSucceeded";
  do: "FailTaskSet" | "Ignore" | "SucceedTaskSet";
}

/** Where a role's tasks may run. */
export interface PlacementPreferences {
  nodeSelector?: { [key: string]: string }; // {}
  topology?: Topology | null;
  sku?: string | (string | SkuChoice)[] | null;
  tolerations?: string[]; // []
  near?: string | null;
  spread?: SpreadOver | null;
}

/** Packing by a node label level. */
export interface Topology {
  level: string | string[];
  mode?: "preferred" | "required"; // "preferred"
}

/** A device model, with how many devices of it a task takes. */
export interface SkuChoice {
  sku: string;
  devices?: number | null;
}

/** Spreading over failure domains. */
export interface SpreadOver {
  level: string;
  maxPerDomain?: number | null;
}

/** A TaskSet of the same owner that must end first. */
export interface After {
  name: string;
  on?: "Completed" | "Failed" | "Succeeded"; // "Succeeded"
}

/** Gang start: all members, bound within `timeout_seconds` or withdrawn whole. */
export interface Gang {
  minAvailable?: number | "all"; // "all"
  timeoutSeconds?: number; // 600.0
}

/** Where the whole gang runs. */
export interface GangPlacement {
  topology?: Topology | null;
}

/** How long a TaskSet may live and what it is tied to. */
export interface Lifetime {
  mode?: "detached" | "kernel" | "server"; // "detached"
  maxRuntimeSeconds?: number | null;
  ttlSecondsAfterFinished?: number | null;
  idle?: Idle | null;
  lease?: string; // ""
}

/** What to do with a TaskSet whose devices idle. */
export interface Idle {
  utilBelowPercent?: number; // 5.0
  forSeconds?: number; // 3600.0
  action?: "stop" | "warn"; // "warn"
}

/** Whether and how a running TaskSet may be preempted. */
export interface PreemptionSpec {
  allowed?: boolean; // true
  noticeSeconds?: number; // 60.0
  minRuntimeSeconds?: number | null;
  resumes?: "always" | "auto" | "never"; // "auto"
}

/** The submitter's folder, unpacked into every task. `digest` is set by the client after the upload. */
export interface Workspace {
  snapshot?: boolean; // true
  digest?: string | null;
  git?: { [key: string]: unknown } | null;
}

/** A declared input. */
export interface Input {
  uri: string;
  digest?: string | null;
}

/** A papermill run: the notebook, its parameters. */
export interface RunSpec {
  notebook: string;
  parameters?: { [key: string]: unknown }; // {}
}

/** What the service fixed at submission, so that what runs is what was submitted. */
export interface Resolved {
  images?: { [key: string]: string }; // {}
  imageNames?: { [key: string]: string }; // {}
  descriptors?: Descriptors; // {}
  specDigest?: string; // ""
}

/** The descriptors one TaskSet uses, with the digest of each (`framework/pytorch` -> `sha256:...`). */
export interface Descriptors {
  framework?: FrameworkDescriptor | null;
  devices?: { [key: string]: DeviceDescriptor }; // {}
  storage?: { [key: string]: StorageDescriptor }; // {}
  digests?: { [key: string]: string }; // {}
}

/** A framework: which roles it knows and how it is wired. */
export interface FrameworkDescriptor {
  name: string;
  description?: string; // ""
  apiVersion?: string; // "octopus-hub.io/v1alpha1"
  kind?: string; // "Framework"
  roles?: { [key: string]: RoleWiring }; // {}
  allowedRoles?: string[]; // []
  serviceRoles?: string[]; // []
  rankOrder?: string[]; // []
  source?: string; // ""
  image?: string; // ""
}

/** How tasks of one role (or of every role, key `*`) of a framework are wired. */
export interface RoleWiring {
  env?: { [key: string]: string }; // {}
  ports?: string[]; // []
  files?: { [key: string]: string }; // {}
}

/** A device type: how it is found on a machine, how a task sees its devices, its resource name on a cluster. */
export interface DeviceDescriptor {
  name: string;
  description?: string; // ""
  apiVersion?: string; // "octopus-hub.io/v1alpha1"
  kind?: string; // "Device"
  discovery?: string; // "none"
  command?: string[]; // []
  env?: { [key: string]: string }; // {}
  parts?: DeviceParts | null;
  hide?: boolean; // false
  kubernetesResource?: string; // ""
  source?: string; // ""
}

/** That devices of a type can be divided into equal parts; which ones are is said in octopus.yaml. */
export interface DeviceParts {
  max: number;
  env?: { [key: string]: string }; // {}
}

/** A storage kind. */
export interface StorageDescriptor {
  name: string;
  description?: string; // ""
  apiVersion?: string; // "octopus-hub.io/v1alpha1"
  kind?: string; // "Storage"
  provider?: string; // "scratch"
  root?: string; // ""
  parameters?: { [key: string]: string }; // {}
}

/** State of a TaskSet. Bounded in size whatever the gang (at most 50 exceptional tasks in all). */
export interface Status {
  phase?: Phase; // "Queued"
  reason?: string; // ""
  message?: string; // ""
  conditions?: Condition[]; // []
  timeline?: TimelineEntry[]; // []
  attempt?: number; // 0
  roles?: RoleStatus[]; // []
  placement?: { [key: string]: Span[] }; // {}
  choices?: { [key: string]: number }; // {}
  resizeTo?: { [key: string]: Span[] }; // {}
  resizedAt?: number | null;
  verdict?: "Failed" | "Stopped" | "Succeeded" | null;
  queuedAt?: number | null;
  admittedAt?: number | null;
  startingAt?: number | null;
  startedAt?: number | null;
  finishedAt?: number | null;
  restartAt?: number | null;
  restartScope?: string; // ""
  stoppingAt?: number | null;
  avoid?: Avoid[]; // []
  bindFailures?: number; // 0
  idleSince?: number | null;
  preemptedBy?: string; // ""
  preemptedFor?: string; // ""
  preemptedRule?: string; // ""
  preemptedAt?: number[]; // []
  preemptions?: number; // 0
  servedSeconds?: number; // 0.0
  checkpointAt?: number | null;
  recordedAttempt?: number; // 0
  record?: string; // ""
  epoch?: number; // 0
}

/** Life cycle of a TaskSet (design, section 5). The values are stable API. */
export type Phase = "Admitted" | "Failed" | "Held" | "Preempting" | "Queued" | "Restarting" | "Running" | "Starting" | "Stopped" | "Stopping" | "Succeeded";

/** A named fact about a TaskSet, Kubernetes style. */
export interface Condition {
  type: string;
  status: boolean;
  reason?: string; // ""
  message?: string; // ""
  at?: number; // 0.0
}

/** A phase change. */
export interface TimelineEntry {
  phase: Phase;
  at: number;
  reason?: string; // ""
}

/** Counts of one role's current tasks by state, and the role's verdict. */
export interface RoleStatus {
  name: string;
  pending?: number; // 0
  bound?: number; // 0
  running?: number; // 0
  succeeded?: number; // 0
  failed?: number; // 0
  unknown?: number; // 0
  restarts?: number; // 0
  transientRestarts?: number; // 0
  restartsBefore?: number; // 0
  transientBefore?: number; // 0
  verdict?: "Failed" | "Succeeded" | null;
  exceptional?: ExceptionalTask[]; // []
}

/** A task worth a word: failed, restarting, lost. */
export interface ExceptionalTask {
  index: number;
  attempt: number;
  state: string;
  cause?: string; // ""
  advice?: string; // ""
}

/** Tasks `first .. first + count - 1` of a role on one node. */
export interface Span {
  node: string;
  first: number;
  count: number;
}

/** A node on which the gang could not be bound; not tried again before `until`. */
export interface Avoid {
  node: string;
  until: number;
  strikes?: number; // 1
}

/** A task as observed. Rows of a TaskSet's current attempt; ended attempts go to the record. */
export interface Task {
  name: string;
  namespace: string;
  taskset: string;
  tasksetUid: string;
  role: string;
  index: number;
  attempt: number;
  gangAttempt?: number; // 1
  state?: TaskState; // "Pending"
  node?: string; // ""
  devices?: { [key: string]: string[] }; // {}
  ports?: { [key: string]: number }; // {}
  createdAt?: number; // 0.0
  boundAt?: number | null;
  startedAt?: number | null;
  finishedAt?: number | null;
  exitCode?: number | null;
  signal?: number | null;
  endReason?: "" | "CommandNotFound" | "DiskFull" | "Evicted" | "ImageMissing" | "NodeLost" | "NotExecutable" | "OOMKilled" | "Preempted" | "Refused" | "Resized" | "StartFailed" | "Stopped" | "Vanished"; // ""
  message?: string; // ""
  memoryLimitBytes?: number; // 0
  usage?: Usage; // {}
  logBytes?: number; // 0
  metrics?: { [key: string]: number }; // {}
}

/** State of a task. `Bound`: placed, prepared and waiting at the barrier; no user code has run. */
export type TaskState = "Bound" | "Failed" | "Pending" | "Running" | "Succeeded" | "Unknown";

/** What a task uses or used. */
export interface Usage {
  memoryBytes?: number; // 0
  peakMemoryBytes?: number; // 0
  cpuSeconds?: number; // 0.0
  devicePercent?: { [key: string]: number }; // {}
  deviceMemoryBytes?: { [key: string]: number }; // {}
  checkpointAt?: number | null;
}

/** A node: labels, capacity, devices. `ready` is false while it can't be reached. */
export interface Node {
  name: string;
  capacity: Amounts;
  labels?: { [key: string]: string }; // {}
  taints?: string[]; // []
  devices?: Device[]; // []
  ready?: boolean; // true
  schedulable?: boolean; // true
  message?: string; // ""
}

/** A vector of resources. */
export interface Amounts {
  cpuMillis?: number; // 0
  memoryBytes?: number; // 0
  devices?: { [key: string]: number }; // {}
}

/** One device of a node, with its last observed use. */
export interface Device {
  id: string;
  type: string;
  parts?: number; // 1
  model?: string; // ""
  memoryBytes?: number; // 0
  healthy?: boolean; // true
  percent?: number | null;
  usedMemoryBytes?: number | null;
}

/** Why a waiting TaskSet waits (design, law 9); kept on the queue's board, not in the TaskSet. */
export interface QueuePlace {
  uid: string;
  place: number;
  code: string;
  message: string;
  need?: Amounts; // {}
  free?: Amounts; // {}
  where?: string; // ""
  estimateSeconds?: number | null;
  earliestSeconds?: number | null;
  latestSeconds?: number | null;
  basis?: string; // ""
}

/** What is gone since the frame before: uids of TaskSets, `namespace/name` of tasks. */
export interface Removed {
  tasksets?: string[]; // []
  tasks?: string[]; // []
}

/** A TaskSet with what is stored elsewhere: why it waits (from its queue's board) and its tasks' rows. */
export interface TaskSetView {
  taskset: TaskSet;
  queuePlace?: QueuePlace | null;
  tasks?: Task[] | null;
}

/** What would happen if this TaskSet were submitted now. */
export interface PlanAnswer {
  outcome?: string; // ""
  reason?: { [key: string]: unknown } | null;
  place?: number; // 0
  before?: string[]; // []
  makesRoom?: MakesRoom[]; // []
  estimate?: StartEstimate | null;
  smaller?: OtherShape[]; // []
  unblock?: string[]; // []
  facts?: Fact[]; // []
  fitsEmpty: boolean;
  runsNow: boolean;
  placement?: { [key: string]: Span[] } | null;
}

/** A TaskSet that is asked to go, or (rule `shrink`) to give up tasks. */
export interface MakesRoom {
  taskset: string;
  rule?: string; // ""
}

/** When it starts, in seconds from now; without `earliest_seconds` nothing is known, without the other no bound. */
export interface StartEstimate {
  earliestSeconds?: number | null;
  latestSeconds?: number | null;
  basis?: string; // ""
}

/** A shape that would start now: fewer `tasks` of `role`, on another `sku`, or in another `queue`. */
export interface OtherShape {
  kind: string;
  message: string;
  role?: string; // ""
  tasks?: number; // 0
  sku?: string; // ""
  queue?: string; // ""
}

/** A sentence about a TaskSet, and what it is about. */
export interface Fact {
  kind: string;
  message: string;
}

/** The record of one attempt. */
export interface RunRecord {
  schemaVersion?: number; // 1
  kind?: string; // "Record"
  namespace: string;
  name: string;
  uid: string;
  owner?: string; // ""
  attempt: number;
  phase: Phase;
  reason?: string; // ""
  message?: string; // ""
  final?: boolean; // true
  spec: { [key: string]: unknown };
  specDigest?: string; // ""
  resolved?: { [key: string]: unknown }; // {}
  workspace?: string | null;
  git?: { [key: string]: unknown } | null;
  environments?: { [key: string]: Environment }; // {}
  parameters?: { [key: string]: unknown }; // {}
  inputs?: ({ [key: string]: unknown })[]; // []
  seed?: number | null;
  queuedAt?: number | null;
  admittedAt?: number | null;
  startedAt?: number | null;
  finishedAt?: number | null;
  timeline?: TimelineEntry[]; // []
  tasks?: TaskEnd[]; // []
  choices?: { [key: string]: number }; // {}
  servedSeconds?: number; // 0.0
  metrics?: { [key: string]: number }; // {}
  outputs?: OutputFile[]; // []
  cells?: { [key: string]: Cell[] }; // {}
  productVersion?: string; // ""
  path?: string; // ""
}

/** The software a run used. */
export interface Environment {
  image?: string; // ""
  digest?: string; // ""
  lock?: string[]; // []
  python?: string; // ""
  platform?: string; // ""
}

/** How one task ended. */
export interface TaskEnd {
  name: string;
  role: string;
  index: number;
  attempt: number;
  node?: string; // ""
  devices?: { [key: string]: string[] }; // {}
  state?: string; // ""
  exitCode?: number | null;
  signal?: number | null;
  failureClass?: string; // ""
  cause?: string; // ""
  advice?: string; // ""
  startedAt?: number | null;
  finishedAt?: number | null;
  peakMemoryBytes?: number; // 0
  cpuSeconds?: number; // 0.0
  metrics?: { [key: string]: number }; // {}
  log?: string; // ""
  logBytes?: number; // 0
}

/** A collected output; its content is a blob of the store and a file beside the record. */
export interface OutputFile {
  path: string;
  digest: string;
  size: number;
}

/** What one cell of a notebook run did, by our own ledger (papermill's metadata can't tell a dead kernel). */
export interface Cell {
  index: number;
  status: string;
  startedAt?: number | null;
  endedAt?: number | null;
  error?: string; // ""
}

/** An error (RFC 9457); more members give the facts. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  code: string;
  detail: string;
  problems?: string[]; // []
}

export const PHASES: readonly Phase[] = ["Held", "Queued", "Admitted", "Starting", "Running", "Restarting", "Preempting", "Stopping", "Succeeded", "Failed", "Stopped"];

export const TERMINAL_PHASES: readonly Phase[] = ["Succeeded", "Failed", "Stopped"];
