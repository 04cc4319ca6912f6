"""All of HTTP: operations, pages and errors. No other room imports it."""
