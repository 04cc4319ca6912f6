"""All of HTTP: operations, pages, errors; imported by nobody."""
