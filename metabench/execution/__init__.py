"""Running what is planned: sessions, launches, executing one run, replaying a record."""
