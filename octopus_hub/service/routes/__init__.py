"""One file per kind of object; each handler says its path, ``access.ROUTES`` says what each of its methods needs."""
