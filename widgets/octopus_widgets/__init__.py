"""Live views of TaskSets for notebooks (anywidget)."""
