"""A notebook with stored outputs → a page in Markdown, and its pictures; tests/test_docs.py runs its cells."""

import base64
import json
from pathlib import Path
from typing import Any


def page(notebook: Path) -> tuple[str, dict[str, bytes]]:
    """Return the page, and its pictures by their names."""
    parts, pictures = [], {}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            text, picture = _output(output)
            if picture:
                name = f"{notebook.stem}-{len(pictures) + 1}.png"
                pictures[name] = picture
                text = f"![what the cell above draws]({name})"
            parts.append(text)
    return "\n\n".join(parts) + "\n", pictures


def _output(output: dict[str, Any]) -> tuple[str, bytes]:
    data = output.get("data", {})
    if "image/png" in data:
        return "", base64.b64decode("".join(data["image/png"]))
    if "text/html" in data:
        one_line = " ".join("".join(data["text/html"]).split("\n"))
        return f'<div class="notebook-output">{one_line}</div>', b""
    text = "".join(output.get("text") or data["text/plain"])
    return f"```text\n{text.rstrip()}\n```", b""
