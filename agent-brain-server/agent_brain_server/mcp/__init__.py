"""The services of a project as tools of the Model Context Protocol."""
