"""Pages of the reference that are made from the code: `make reference`.

Each module of this folder is a page of docs/reference/ of the same name; its function `page`
returns the page's Markdown.
"""
