"""The report's sections as HTML. Every text from a file passes through `esc`."""
import html
import math

from webvision.errors import printable

SHOWN_PROBLEMS = 100
TABLE_COLUMNS = (                  # key, heading, kind; page.js shows the same rows in the same way
    ("name", "class", "text"), ("top1", "top-1 error", "share"), ("top5", "top-5 error", "share"), ("images", "images", "count"),
    ("train", "in training", "count"), ("precision", "precision", "share"), ("f1", "F1", "share"), ("taken", "most often taken for", "text"))
TOP1 = 1                           # its place in a row
FIRST_ROWS = 50


def esc(text):
    """`text` safe inside HTML text and attributes; control characters, reading-direction marks and bad bytes become visible escapes."""
    return html.escape(printable(text))


def share(value, digits=1):
    """A fraction as percent; a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.{digits}f}\u00a0%"


def section(key, title, body, lead=""):
    """One section with its heading; nothing when there is no body."""
    if not body:
        return ""
    lead = f'<p class="lead">{lead}</p>' if lead else ""
    return f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{esc(title)}</h2>{lead}{body}</section>'


def facts(pairs):
    """A list of terms and values."""
    return '<dl class="facts">' + "".join(f"<div><dt>{esc(term)}</dt><dd>{esc(value)}</dd></div>" for term, value in pairs if value is not None) + "</dl>"


def tiles(card):
    """The headline: four errors with their intervals, F1 and the calibration error."""
    parts = []
    for balanced, words in (("", ""), ("balanced_", "balanced ")):
        for k, found in card["errors"].items():
            low, high = found[f"{balanced}interval"]
            parts.append(_tile(f"{words}top-{k[3:]} error", share(found[f"{balanced}error"]), f"95 %: {share(low)} to {share(high)}"))
    parts.append(_tile("macro F1", share(card["averages"]["macro"]["f1"]), "of the first choice"))
    if "calibration" in card:
        parts.append(_tile("calibration error", share(card["calibration"]["ece"]), "ECE, 15 bins"))
    return f'<div class="tiles">{"".join(parts)}</div>'


def _tile(term, value, hint):
    return f'<div class="tile"><div class="term">{term}</div><div class="value">{value}</div><div class="hint">{hint}</div></div>'


def comparison(cards, differences):
    """A row a run: its errors, and its difference to the first run with interval and p-value."""
    rows = []
    for i, card in enumerate(cards):
        cells = "".join(f"<td class=\"figure\">{share(card['errors'][k][kind])}</td>" for k in card["errors"] for kind in ("error", "balanced_error"))
        against = "<td>reference</td>" if i == 0 else f"<td>{_difference(differences[i - 1])}</td>"
        rows.append(f"<tr><th scope=\"row\">{esc(card['predictions'])}</th>{cells}{against}</tr>")
    heads = "".join(f'<th scope="col">{words}top-{k[3:]}</th>' for k in cards[0]["errors"] for words in ("", "balanced "))
    return (f'<div class="scroll" tabindex="0" role="region" aria-label="Runs"><table><thead><tr><th scope="col">run</th>{heads}'
            f'<th scope="col">top-1 against the first</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>')


def _difference(found):
    low, high = -found.interval.high, -found.interval.low
    verdict = "better" if high < 0 else "worse" if low > 0 else "no clear difference"
    return f"{-100 * found.difference:+.2f} points [{100 * low:+.2f}, {100 * high:+.2f}], p {found.p_value:.2g}: {verdict}"


def frequency_table(effect):
    """The numbers behind the bars of the frequency chart."""
    rows = "".join(f"<tr><td>{b.low} to {b.high}</td><td>{b.classes}</td><td>{share(b.top1)}</td><td>{share(b.top5)}</td></tr>" for b in effect.bins)
    return ('<details><summary>as a table</summary><table><thead><tr><th scope="col">training images</th><th scope="col">classes</th>'
            f'<th scope="col">top-1 error</th><th scope="col">top-5 error</th></tr></thead><tbody>{rows}</tbody></table></details>')


def class_rows(table, names, train_counts):
    """A list for each class, in the order of TABLE_COLUMNS, None where there is no figure."""
    def figure(value):
        return None if math.isnan(value) else round(float(value), 4)
    rows = []
    for c, name in enumerate(names):
        taken = f"{printable(names[table.taken_for[c]])} ({table.taken_count[c]})" if table.taken_for[c] >= 0 else ""
        rows.append([printable(name), figure(table.errors1[c]), figure(table.errors5[c]), int(table.images[c]),
                     None if train_counts is None else int(train_counts[c]), figure(table.precision[c]), figure(table.f1[c]), taken])
    return rows


def class_section(rows, has_train_counts):
    """The table's frame, its controls, and the first rows as text, so that a page without scripts shows them too."""
    columns = [column for column in TABLE_COLUMNS if has_train_counts or column[0] != "train"]
    heads = "".join(f'<th scope="col" class="{kind}" data-key="{key}" aria-sort="{"descending" if key == "top1" else "none"}">'
                    f'<button type="button">{heading}</button></th>' for key, heading, kind in columns)
    worst = sorted(rows, key=lambda row: (row[TOP1] is None, -(row[TOP1] or 0)))[:FIRST_ROWS]
    body = "".join("<tr>" + "".join(_cell(row[index], kind) for index, (key, _, kind) in enumerate(TABLE_COLUMNS) if has_train_counts or key != "train")
                   + "</tr>" for row in worst)
    return ('<div class="controls"><label>Filter <input id="filter" type="search" placeholder="name" autocomplete="off" aria-describedby="filter-hint"></label>'
            '<label>Show <select id="group"><option value="all">all classes</option><option value="worst">error of 50 % or more</option>'
            '<option value="perfect">no error</option><option value="absent">without images</option></select></label>'
            '<span id="filter-hint" class="hint">key <kbd>/</kbd> goes to the filter</span><output id="count" aria-live="polite"></output></div>'
            f'<div class="scroll" tabindex="0" role="region" aria-label="Classes"><table id="classes-table"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
            '<div class="controls pager"><button type="button" id="previous">previous</button><output id="page"></output>'
            '<button type="button" id="next">next</button><button type="button" id="everything">show all rows</button></div>')


def _cell(value, kind):
    text = share(value) if kind == "share" else "–" if value is None else str(value)
    return f'<td class="{kind}">{html.escape(text)}</td>'


def confusions(pairs, names, both_ways):
    """The most frequent mistakes; `both_ways` maps (label, predicted) to the count of the reverse mistake."""
    rows = "".join(f"<tr><td>{esc(names[p.label])}</td><td>{esc(names[p.predicted])}</td><td class=\"count\">{p.count}</td><td class=\"share\">{share(p.share)}</td>"
                   f"<td class=\"count\">{both_ways.get((p.predicted, p.label), 0)}</td></tr>" for p in pairs)
    return rows and ('<div class="scroll" tabindex="0" role="region" aria-label="Confused pairs"><table><thead><tr><th scope="col">class</th><th scope="col">taken for</th>'
                     '<th scope="col" class="count">images</th><th scope="col" class="share">of its images</th><th scope="col" class="count">the other way</th></tr></thead>'
                     f"<tbody>{rows}</tbody></table></div>")


def gallery(cards):
    """Pictures with what they are called and what they are taken for: [(address or None, name, label, predicted, confidence)]."""
    parts = []
    for address, name, label, predicted, confidence in cards:
        picture = f'<img src="{address}" alt="{esc(label)}, taken for {esc(predicted)}">' if address else '<div class="no-picture">no picture</div>'
        parts.append(f'<figure class="card">{picture}<figcaption><span class="label">{esc(label)}</span> <span class="arrow">taken for</span> '
                     f'<span class="predicted">{esc(predicted)}</span> <span class="sure">{share(confidence, 0)} sure</span>'
                     f'<span class="file">{esc(name)}</span></figcaption></figure>')
    return f'<div class="gallery">{"".join(parts)}</div>' if parts else ""


def problems(names_and_reasons):
    """The pictures that could not be read."""
    items = "".join(f"<li>{esc(name)}: {esc(reason)}</li>" for name, reason in names_and_reasons[:SHOWN_PROBLEMS])
    more = f"<p>and {len(names_and_reasons) - SHOWN_PROBLEMS} more</p>" if len(names_and_reasons) > SHOWN_PROBLEMS else ""
    return items and f'<ul class="problems">{items}</ul>{more}'
