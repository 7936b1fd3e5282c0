"""Is a tracked dataset fit to train on? Each check gives findings, and they give the verdict."""
