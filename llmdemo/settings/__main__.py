"""`python -m llmdemo.settings`: the tables of llmdemo/settings/README.md, made from the schemas."""

from llmdemo.settings.tables import tables

if __name__ == "__main__":
    print(tables(), end="")
