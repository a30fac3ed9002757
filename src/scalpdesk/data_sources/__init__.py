"""Sources that fill the catalogue: importers of files and downloaders from venues, each a plug by name."""
