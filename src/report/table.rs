//! Text tables that fit a width. Knows cells, not what they say.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table};

/// A table without lines, as wide as its content and at most `width` columns; `right` are right-aligned columns.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>, right: &[usize], width: u16) -> String {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width)
        .set_header(header.iter().map(Cell::new));
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index > 0 {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<_> = table.lines().map(|l| l.trim_end().to_string()).collect();
    lines.join("\n") + "\n"
}

/// `text` broken at blanks into lines of at most `width` characters, each behind `indent`.
pub(super) fn fill(text: &str, width: u16, indent: &str) -> String {
    let width = usize::from(width).saturating_sub(indent.len()).max(20);
    let mut lines: Vec<String> = vec![String::new()];
    // A number and its percent sign stay together.
    let text = text.replace(" %", "\u{a0}%");
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        for piece in pieces(word, width) {
            match lines.last_mut() {
                Some(line) if line.is_empty() => *line = piece,
                Some(line) if line.chars().count() + 1 + piece.chars().count() <= width => {
                    line.push(' ');
                    line.push_str(&piece);
                }
                _ => lines.push(piece),
            }
        }
    }
    let lines: Vec<_> = lines.iter().map(|l| format!("{indent}{l}")).collect();
    lines.join("\n").replace('\u{a0}', " ") + "\n"
}

/// A word longer than the width, cut behind `=` if that helps.
pub(super) fn pieces(word: &str, width: usize) -> Vec<String> {
    if word.chars().count() <= width {
        return vec![word.to_string()];
    }
    if let Some((tunable, level)) = word.split_once('=')
        && !level.is_empty()
        && tunable.chars().count() < width
        && level.chars().count() < width
    {
        return vec![format!("{tunable}="), format!(" {level}")];
    }
    let chars: Vec<char> = word.chars().collect();
    chars.chunks(width.max(1)).map(|c| c.iter().collect()).collect()
}
