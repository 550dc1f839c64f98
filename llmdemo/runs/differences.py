"""In what runs differ: their settings, data and model, side by side. Knows configs as they are kept, and nothing of what they do."""

_NOT_SETTINGS = ("run", "name", "dataset", "dataset_id", "model", "model_id", "versions", "group")


def differences(configs: dict[str, dict]) -> dict[str, dict]:
    """{setting: {run_id: its value, None where the run has none}} of all that is not alike in these configs, by run_id.

    "data" and "model" are the names of the data set and of the model that the run started from; two data sets of one
    name are told apart by the beginning of their content's hash.
    """
    known = {run_id: _settings(config) for run_id, config in configs.items()}
    keys = dict.fromkeys(key for settings in known.values() for key in settings)
    found = {key: {run_id: settings.get(key) for run_id, settings in known.items()} for key in keys}
    return {key: values for key, values in found.items() if len({repr(value) for value in values.values()}) > 1}


def _object(config: dict, key: str) -> dict:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def _settings(config: dict) -> dict:
    dataset, model = _object(config, "dataset"), _object(config, "model")
    data = dataset.get("name") or config.get("dataset_id")
    version = str(dataset.get("content_hash") or "")[:8]
    named = {
        "data": f"{data} ({version})" if version else data,
        "model": model.get("title") or config.get("model_id"),
    }
    return named | {key: value for key, value in config.items() if key not in _NOT_SETTINGS}
