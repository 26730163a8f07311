"""Run records: look, download, run again. Only the owner (and administrators) find them."""

from __future__ import annotations

from typing import Any

import msgspec

from octopus_hub.model.errors import InvalidSpec, NotFound
from octopus_hub.model.record import Record
from octopus_hub.model.taskset import Metadata, TaskSet
from octopus_hub.runs.replay import REPLAY_OF, missing_code, summary
from octopus_hub.service.handler import ApiHandler
from octopus_hub.service.routes.tasksets import answer_created, idempotency_key
from octopus_hub.service.views import namespace_of_path, own_namespace, safe_name, shown, visible


class RecordReference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record by where it is kept."""

    name: str
    namespace: str = ""
    attempt: int | None = None


class ReplayRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to run again: a whole record (a file from anywhere), or a reference to one that is kept here."""

    record: dict[str, Any]


class RecordHandler(ApiHandler):
    """Finds records inside the tenant's border."""

    async def find(self, namespace: str, name: str, attempt: int | None) -> Record:
        """Return a record; NotFound says the same about a missing and a foreign one."""
        namespace = namespace_of_path(self.who, namespace)
        missing = NotFound(f"there is no record of {shown(name)}; see `octopus list`")
        if not visible(self.who, namespace):
            raise missing
        try:
            return await self.service.backend.get_record(
                safe_name(namespace, "namespace"), safe_name(name, "record of"), attempt
            )
        except NotFound:
            raise missing from None


class Records(RecordHandler):
    """``/records``."""

    path = "/records"

    async def get(self) -> None:
        """Newest first; ``name`` is a TaskSet's."""
        namespace = own_namespace(self.who, self.query("namespace"))
        records = await self.service.backend.list_records(safe_name(namespace, "namespace"))
        name = self.query("name")
        self.answer({"items": [record for record in records if not name or record.name == name]})


class OneRecord(RecordHandler):
    """``/records/{ns}/{name}``."""

    path = "/records/{ns}/{name}"

    async def get(self, ns: str, name: str) -> None:
        """The record of an attempt, the last one's unless named."""
        self.answer(await self.find(ns, name, self.number("attempt", 1)))


class Outputs(RecordHandler):
    """``/records/{ns}/{name}/outputs``."""

    path = "/records/{ns}/{name}/outputs"

    async def get(self, ns: str, name: str) -> None:
        """The collected outputs as tar.gz."""
        record = await self.find(ns, name, self.number("attempt", 1))
        filename = f"{record.name}-{record.attempt}-outputs.tar.gz"
        await self.send(self.service.runs.outputs(record), "application/gzip", filename)


class Crate(RecordHandler):
    """``/records/{ns}/{name}/record.zip``."""

    path = "/records/{ns}/{name}/record.zip"

    async def get(self, ns: str, name: str) -> None:
        """The record as a research object crate."""
        record = await self.find(ns, name, self.number("attempt", 1))
        await self.send(self.service.runs.crate(record), "application/zip", f"{record.name}-{record.attempt}.zip")


class Replay(RecordHandler):
    """``/replay``."""

    path = "/replay"

    async def post(self) -> None:
        """Submit the record again, as the caller's own TaskSet and under every rule of a submission."""
        record = await self._record(self.body_as(ReplayRequest).record)
        document = marked(await self._document(record), record)
        created = await self.service.submission.submit(document.to_dict(), self.who, idempotency_key(self))
        answer_created(self, created.taskset, created.repeated)

    async def _document(self, record: Record) -> TaskSet:
        """Return what to submit. Code that the caller may not read is missing, so that nobody learns what others have."""
        problems: list[str] = []
        if record.workspace is not None:
            try:
                await self.service.blobs.path(record.workspace, self.who)
            except NotFound:
                problems.append(missing_code(record))
                record = msgspec.structs.replace(record, workspace=None)
        try:
            document = await self.service.runs.replay(record)
        except InvalidSpec as error:
            if not problems:
                raise
            problems += error.problems or [error.message]
        if problems:
            raise InvalidSpec(summary(record, problems), problems)
        return document

    async def _record(self, given: dict[str, Any]) -> Record:
        try:
            if "spec" in given:
                return msgspec.convert(given, Record)
            reference = msgspec.convert(given, RecordReference)
        except msgspec.ValidationError as error:
            raise InvalidSpec(f"the record can't be read: {error}", problems=[f"record: {error}"]) from None
        return await self.find(reference.namespace, reference.name, reference.attempt)


def marked(document: TaskSet, record: Record) -> TaskSet:
    """Return the document with the label that says what it repeats, and nothing that only the service may set."""
    labels = {REPLAY_OF: f"{record.name}.{record.attempt}", **document.metadata.labels}
    meta = Metadata(name=document.metadata.name, labels=labels, annotations=document.metadata.annotations)
    return TaskSet(metadata=meta, spec=document.spec)
