"""The database: every table and every statement; the only room that speaks SQL."""
