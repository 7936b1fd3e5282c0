"""Is a tracked dataset fit to train on? Each check returns findings; together they give the verdict."""
