"""What a job is sent: all of a model that is only here, and nothing that merely lies behind a link."""

from llmdemo.elsewhere import parcel


def test_a_model_in_the_hubs_cache_is_sent_whole_though_its_files_are_links(
    home, tiny_model_folder, tmp_path, monkeypatch
):
    """Without its files the rented machine would begin, cost money and find no model."""
    monkeypatch.setattr(parcel, "app", lambda: b"app")
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for file in tiny_model_folder.iterdir():
        (snapshot / file.name).symlink_to(file)
    (tmp_path / "secret").write_text("mine")
    (snapshot / "id_rsa").symlink_to(tmp_path / "secret")
    sent = parcel.files(home, "run-1", {"model_id": str(snapshot)}, 60)
    names = {name.rpartition("/")[2] for name in sent if name.startswith(parcel.MODELS)}
    assert names == {file.name for file in tiny_model_folder.iterdir()}
