"""Documents as raw text: pages of a PDF, pieces of a Word file, and those that hurt or hold nothing."""

import io
import zipfile

import pytest

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.data import documents
from llmdemo.data.format_detection import detect_format

PAGE = "Low rank projection of gradients saves optimizer memory on page"


def pdf(texts: list[str], password: str = "") -> bytes:
    """A PDF with a line of text on each page; "" is a page without any."""
    from pypdf import PdfWriter
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = PdfWriter()
    font = DictionaryObject(
        {NameObject(key): NameObject(value) for key, value in
         {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": "/Helvetica"}.items()}
    )  # fmt: skip
    for text in texts:
        page = writer.add_blank_page(300, 300)
        fonts = DictionaryObject({NameObject("/F1"): writer._add_object(font)})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        if text:
            stream = DecodedStreamObject()
            stream.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode())
            page[NameObject("/Contents")] = writer._add_object(stream)
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def docx() -> bytes:
    from docx import Document

    document = Document()
    document.add_heading("Memory", 1)
    document.add_paragraph("Gradients are projected.")
    table = document.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "rank", "128"
    document.add_paragraph("word " * 900)
    document.add_heading("Speed", 1)
    document.add_paragraph("A step takes a second.")
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


@pytest.fixture
def written(tmp_path):
    def write(name: str, content: bytes):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def test_a_pdfs_pages_become_records_of_raw_text(home, settings, written):
    info = data.add_dataset(home, settings, written("paper.pdf", pdf([f"{PAGE} 1", "", f"{PAGE} 3"])), "paper")
    assert (info.task, info.kept) == ("text", 2)
    assert [record["text"] for record in data.open_records(home, info.dataset_id)] == [f"{PAGE} 1", f"{PAGE} 3"]


def test_a_word_documents_paragraphs_and_tables_become_pieces_that_begin_at_headings(written):
    path = written("notes.docx", docx())
    assert detect_format(path, 2**30) == ("docx", "binary")
    (batch,) = documents.read_document(path, "docx")
    first, last = (row["text"] for row in batch.rows)
    assert first.startswith("Memory\n\nGradients are projected.\n\nrank\t128\n\nword word")
    assert last == "Speed\n\nA step takes a second."


def test_an_encrypted_pdf_is_a_sentence_and_one_that_opens_without_a_password_is_read(written, tmp_path):
    with pytest.raises(UserError, match="encrypted"):
        list(documents.read_document(written("locked.pdf", pdf([PAGE], "secret")), "pdf"))


def test_pictures_alone_damage_and_too_many_pages_are_sentences(written, monkeypatch):
    cases = [("scan.pdf", pdf(["", ""]), "only pictures"), ("torn.pdf", b"%PDF-1.4\n" + b"\x00garbage" * 50, "damaged")]
    for name, content, said in cases:
        with pytest.raises(UserError, match=said):
            list(documents.read_document(written(name, content), "pdf"))
    monkeypatch.setattr(documents, "MAX_PAGES", 2)
    with pytest.raises(UserError, match="more than 2 pages"):
        list(documents.read_document(written("long.pdf", pdf([PAGE] * 3)), "pdf"))


def test_a_word_document_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked(written, monkeypatch):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("word/document.xml", b" " * (8 * 2**20))
    monkeypatch.setattr(documents, "UNPACKED_BYTES", 2**20)
    with pytest.raises(UserError, match="unpacks to more than 1 MB"):
        list(documents.read_document(written("bomb.docx", out.getvalue()), "docx"))


def test_entities_that_multiply_are_not_expanded(written):
    """XML whose entities would be gigabytes (billion laughs), in a document that is well formed otherwise."""
    source, out = zipfile.ZipFile(io.BytesIO(docx())), io.BytesIO()
    entities = '<!ENTITY a "haha">' + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 20}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for part in source.infolist():
            content = source.read(part)
            if part.filename == "word/document.xml":
                head, _, rest = content.partition(b"?>")
                rest = rest.replace(b"Gradients are projected.", b"&i;")
                content = head + b"?><!DOCTYPE w [" + entities.encode() + b"]>" + rest
            packed.writestr(part, content)
    try:
        rows = [
            row
            for batch in documents.read_document(written("laughs.docx", out.getvalue()), "docx")
            for row in batch.rows
        ]
        assert "hahahaha" not in str(rows)
    except UserError as refused:
        assert "damaged" in refused.message or "memory" in refused.message


def test_a_zip_archive_that_is_no_word_document_is_still_told_as_one(written):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("xl/workbook.xml", "x")
    with pytest.raises(UserError, match="ZIP"):
        detect_format(written("book.xlsx", out.getvalue()), 2**30)


def test_a_cell_that_spans_others_is_said_once(written):
    from docx import Document

    document = Document()
    wide, tall = document.add_table(2, 2), document.add_table(2, 2)
    wide.cell(0, 0).merge(wide.cell(0, 1)).text = "both"
    tall.cell(0, 0).merge(tall.cell(1, 0)).text = "side"
    for table, place, text in ((wide, (1, 0), "a"), (wide, (1, 1), "b"), (tall, (0, 1), "c"), (tall, (1, 1), "d")):
        table.cell(*place).text = text
    out = io.BytesIO()
    document.save(out)
    (batch,) = documents.read_document(written("merged.docx", out.getvalue()), "docx")
    assert batch.rows == [{"text": "both\na\tb\n\nside\tc\n\td"}]


def test_the_directory_of_a_zip_archive_is_read_only_where_it_is_small(written, monkeypatch):
    """zipfile keeps some 300 bytes for each entry of 47: a directory as large as an upload may be is gigabytes."""
    directory = (b"PK\x01\x02" + b"\0" * 24 + b"\x01\0" + b"\0" * 16 + b"a") * 100_000
    end = b"PK\x05\x06" + b"\0" * 8 + len(directory).to_bytes(4, "little") + b"\x04\0\0\0" + b"\0\0"
    monkeypatch.setattr(zipfile, "ZipFile", lambda path: pytest.fail("its directory is read"))
    for name, tail in (("many.docx", end), ("sixty-four.docx", b"PK\x06\x07" + b"\0" * 16 + end)):
        with pytest.raises(UserError, match="ZIP"):
            detect_format(written(name, b"PK\x03\x04" + directory + tail), 2**30)


def test_a_text_about_pdf_files_is_a_text(written):
    record = b'{"instruction": "How does a PDF begin?", "output": "With %PDF-1.7"}\n'
    assert detect_format(written("about.jsonl", record), 2**30)[0] == "jsonl"
    assert detect_format(written("late.pdf", b"\r\n" + pdf([PAGE])), 2**30)[0] == "pdf"


def test_what_stands_in_content_controls_and_was_inserted_is_read_and_what_was_deleted_is_not(written):
    from docx import Document

    document = Document()
    for word in ("INLINE", "BLOCK", "TRACKED"):
        document.add_paragraph(word)
    document.add_table(1, 1).cell(0, 0).text = "CELL"
    out, changed = io.BytesIO(), io.BytesIO()
    document.save(out)
    run = "<w:r><w:t>{}</w:t></w:r>".format
    control = "<w:sdt><w:sdtContent>{}</w:sdtContent></w:sdt>".format
    cases = {
        run("INLINE"): run("Name: ") + control(run("Ann")),
        f"<w:p>{run('BLOCK')}</w:p>": control(f"<w:p>{run('In a control.')}</w:p>"),
        run("TRACKED"): f"<w:ins>{run('Inserted')}</w:ins><w:del><w:r><w:delText>gone</w:delText></w:r></w:del>",
        run("CELL"): f"{run('a')}<w:r><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t></w:r>",
    }
    with zipfile.ZipFile(out) as source, zipfile.ZipFile(changed, "w") as packed:
        for part in source.infolist():
            content = source.read(part).decode("utf-8", "surrogateescape")
            for old, new in cases.items() if part.filename == "word/document.xml" else ():
                assert content.count(old) == 1
                content = content.replace(old, new)
            packed.writestr(part, content.encode("utf-8", "surrogateescape"))
    (batch,) = documents.read_document(written("form.docx", changed.getvalue()), "docx")
    assert batch.rows == [{"text": "Name: Ann\n\nIn a control.\n\nInserted\n\na\tb\nc"}]
