"""The HTTP service of a platform's operators and of its provisioning, and the console.

It needs the extra ``web``; in a checkout: ``pip install '.[web]'``. Nothing of that is imported
before a command of it runs.
"""
