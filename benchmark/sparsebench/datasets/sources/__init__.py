"""Where a task's images come from: folders, published data sets, and the tasks that are embedded."""
