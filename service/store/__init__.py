"""The database: tables, sessions, typed contents, and one module of statements for each aggregate."""
