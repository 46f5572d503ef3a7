//! Reads TOML files key by key and gathers every mistake with its place, not only the first one.
//!
//! Knows types, units and names; does not know what the keys mean.

use crate::diagnostic::{Diagnostic, Diagnostics, Source, one_line};
use crate::tunable::nearest;
use std::cell::RefCell;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// More mistakes than these help nobody, and each is rendered with its place.
const MAX_MISTAKES: usize = 40;

/// The mistakes found so far.
#[derive(Default)]
pub(crate) struct Mistakes(RefCell<Vec<Diagnostic>>);

impl Mistakes {
    /// Adds one.
    pub(crate) fn add(&self, mistake: Diagnostic) {
        self.0.borrow_mut().push(mistake);
    }

    /// All of them, in the order of the file.
    fn into_list(self) -> Vec<Diagnostic> {
        let mut list = self.0.into_inner();
        list.sort_by_key(|d| d.span.as_ref().map_or(0, |s| s.start));
        let more = list.len().saturating_sub(MAX_MISTAKES);
        if more > 0 {
            list.truncate(MAX_MISTAKES);
            list.push(Diagnostic::whole(format!("{more} more mistakes are not shown")));
        }
        list
    }
}

/// Parses `source` and hands its root to `read`; a value comes back only if there was no mistake at all.
pub(crate) fn document<T>(
    source: &Source,
    read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
) -> Result<T, Diagnostics> {
    let fail = |list| Err(Diagnostics::gather(source, list));
    let result = match source.check() {
        Err(mistake) => fail(vec![mistake]),
        Ok(()) => match parse(&source.text) {
            Err(list) => fail(list),
            Ok(root) => {
                let mistakes = Mistakes::default();
                let mut reader = Reader::new("the file".into(), 0..0, root.get_ref(), &mistakes);
                let value = read(&mut reader);
                reader.finish();
                let list = mistakes.into_list();
                match value {
                    Some(value) if list.is_empty() => Ok(value),
                    _ => fail(list),
                }
            }
        },
    };
    result.map_err(|found| found.unwrap_or_else(|| unexplained(source)))
}

/// Only syntax is reported when the syntax is wrong: everything after it would be guesswork.
fn parse(text: &str) -> Result<Spanned<DeTable<'_>>, Vec<Diagnostic>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(root);
    }
    let mistakes = Mistakes::default();
    let last = errors.len() - 1;
    for (i, error) in errors.iter().enumerate() {
        let message = one_line(error.message(), 200);
        let mistake = match error.span() {
            Some(span) => Diagnostic::at(span, message),
            None => Diagnostic::whole(message),
        };
        mistakes.add(if i == last {
            mistake.hint("this is no TOML; https://toml.io shows how it is written")
        } else {
            mistake
        });
    }
    Err(mistakes.into_list())
}

/// A reader that gives nothing must say why; should one ever forget, the user still gets an error.
fn unexplained(source: &Source) -> Diagnostics {
    Diagnostics::single(source, Diagnostic::whole("the file is incomplete"))
}

/// One table, read key by key; [`Reader::finish`] reports the keys nobody asked for.
pub(crate) struct Reader<'a> {
    /// The table's name in messages: `[guest]`.
    what: String,
    span: Range<usize>,
    table: &'a DeTable<'a>,
    asked: Vec<&'static str>,
    mistakes: &'a Mistakes,
}

impl<'a> Reader<'a> {
    fn new(what: String, span: Range<usize>, table: &'a DeTable<'a>, mistakes: &'a Mistakes) -> Self {
        Self {
            what,
            span,
            table,
            asked: Vec::new(),
            mistakes,
        }
    }

    /// Where the table starts.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Where mistakes go.
    pub(crate) fn mistakes(&self) -> &'a Mistakes {
        self.mistakes
    }

    /// The value of `key`, if it is there.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Field<'a>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        let value = self.table.get(key)?;
        Some(Field {
            key,
            span: value.span(),
            value: value.get_ref(),
            mistakes: self.mistakes,
        })
    }

    /// The value of `key`; its absence is a mistake, answered with `hint`.
    pub(crate) fn required(&mut self, key: &'static str, hint: &str) -> Option<Field<'a>> {
        let found = self.take(key);
        if found.is_none() {
            let message = format!("`{key}` is missing in {}", self.what);
            let mistake = if self.span.is_empty() {
                Diagnostic::whole(message)
            } else {
                Diagnostic::at(self.span(), message)
            };
            self.mistakes.add(mistake.hint(hint));
        }
        found
    }

    /// Every key with its place and value, for a table whose keys are names of something. They are the user's words:
    /// know a name before anything is asked of its value.
    pub(crate) fn entries(self) -> Vec<(Range<usize>, Field<'a>)> {
        let entry = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let name: &'a std::borrow::Cow<'a, str> = key.get_ref();
            let field = Field {
                key: name,
                span: value.span(),
                value: value.get_ref(),
                mistakes: self.mistakes,
            };
            (key.span(), field)
        };
        self.table.iter().map(entry).collect()
    }

    /// Refuses `key` because of what else the table says.
    pub(crate) fn refuse(&mut self, key: &'static str, why: &str) {
        if let Some(field) = self.take(key) {
            field.wrong(format!("`{key}` has no meaning here"), why);
        }
    }

    /// Reports every key that nobody asked for.
    pub(crate) fn finish(self) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let near = nearest(name, self.asked.iter().copied());
            let hint = near.map_or_else(
                || format!("known here: {}", self.asked.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            let message = format!("unknown key `{}` in {}", one_line(name, 60), self.what);
            self.mistakes.add(Diagnostic::at(key.span(), message).hint(hint));
        }
    }
}

/// One value with its place and the key it belongs to.
#[derive(Clone)]
pub(crate) struct Field<'a> {
    key: &'a str,
    span: Range<usize>,
    value: &'a DeValue<'a>,
    mistakes: &'a Mistakes,
}

impl<'a> Field<'a> {
    /// The key it belongs to.
    pub(crate) fn key(&self) -> &'a str {
        self.key
    }

    /// Byte range of the value.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Where mistakes go.
    pub(crate) fn mistakes(&self) -> &'a Mistakes {
        self.mistakes
    }

    /// Reports a mistake at this value.
    pub(crate) fn wrong(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.mistake(Diagnostic::at(self.span(), message).hint(hint));
    }

    /// Reports a mistake.
    pub(crate) fn mistake(&self, mistake: Diagnostic) {
        self.mistakes.add(mistake);
    }

    fn wrong_type<T>(&self, expected: &str, hint: &str) -> Option<T> {
        let message = format!("`{}` must be {expected}, not {}", self.key, self.type_name());
        self.wrong(message, hint);
        None
    }

    fn type_name(&self) -> &'static str {
        match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        }
    }

    /// A string, when it is one; no mistake is reported when it is not.
    pub(crate) fn as_text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// True for an array.
    pub(crate) fn is_array(&self) -> bool {
        self.value.is_array()
    }

    /// True for a table.
    pub(crate) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// A string.
    pub(crate) fn text(&self) -> Option<&'a str> {
        match self.as_text() {
            Some(text) => Some(text),
            None => self.wrong_type("a string", "put it in quotes"),
        }
    }

    /// A string or an integer, as text.
    pub(crate) fn scalar(&self) -> Option<String> {
        match self.value {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_string()),
            _ => self.wrong_type("a string or a decimal integer", "put it in quotes"),
        }
    }

    /// A string of one line that `good` accepts; else `expected` says what it must be.
    pub(crate) fn text_if(&self, good: impl Fn(&str) -> bool, expected: &str) -> Option<&'a str> {
        let text = self.text()?;
        if good(text) {
            return Some(text);
        }
        let message = format!("`{}` is no good as `{}`", one_line(text, 60), self.key);
        self.wrong(message, format!("use {expected}"));
        None
    }

    /// A quantity written as a string; `example` shows one.
    pub(crate) fn parse<T: FromStr<Err: Display>>(&self, example: &str) -> Option<T> {
        let hint = format!("write {} = \"{example}\"", self.key);
        let Some(text) = self.as_text() else {
            return self.wrong_type("a string with a unit", &hint);
        };
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(error.to_string(), hint);
                None
            }
        }
    }

    /// One of a fixed list of words.
    pub(crate) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*meaning);
        }
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let hint = nearest(text, known.iter().copied()).map_or_else(
            || format!("known: {}", known.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        self.wrong(format!("unknown {} `{}`", self.key, one_line(text, 60)), hint);
        None
    }

    /// An integer within `range`.
    pub(crate) fn integer(&self, range: RangeInclusive<i64>) -> Option<i64> {
        let (low, high) = (range.start(), range.end());
        let hint = format!("use an integer from {low} to {high}");
        let DeValue::Integer(number) = self.value else {
            return self.wrong_type("an integer", &hint);
        };
        let parsed = i64::from_str_radix(number.as_str(), number.radix()).ok();
        let found = parsed.filter(|n| range.contains(n));
        if found.is_none() {
            self.wrong(format!("`{}` is out of range", self.key), hint);
        }
        found
    }

    /// A finite number.
    pub(crate) fn number(&self) -> Option<f64> {
        let text = match self.value {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => return self.wrong_type("a number", "write it without quotes"),
        };
        let found = text.parse::<f64>().ok().filter(|n| n.is_finite());
        if found.is_none() {
            self.wrong(
                format!("`{}` is not a finite number", self.key),
                "use a finite one",
            );
        }
        found
    }

    /// The elements of an array of at least one and at most `max` elements.
    pub(crate) fn list(&self, max: usize, example: &str) -> Option<Vec<Field<'a>>> {
        let hint = format!("write {} = {example}", self.key);
        let DeValue::Array(array) = self.value else {
            return self.wrong_type("a list", &hint);
        };
        if array.is_empty() || array.len() > max {
            let size = if array.is_empty() {
                "is empty".to_string()
            } else {
                format!("has {} elements, at most {max} are allowed", array.len())
            };
            self.wrong(format!("`{}` {size}", self.key), hint);
            return None;
        }
        Some(array.iter().map(|element| self.element(element)).collect())
    }

    fn element(&self, element: &'a Spanned<DeValue<'a>>) -> Field<'a> {
        Field {
            span: element.span(),
            value: element.get_ref(),
            ..self.clone()
        }
    }

    /// A table: `[key]`.
    pub(crate) fn table(&self) -> Option<Reader<'a>> {
        self.named_table(format!("[{}]", self.key))
    }

    fn named_table(&self, what: String) -> Option<Reader<'a>> {
        match self.value {
            DeValue::Table(table) => Some(Reader::new(what, self.span(), table, self.mistakes)),
            _ => self.wrong_type("a table", &format!("write it as {what} with keys below")),
        }
    }

    /// A truth value, when it is one; no mistake is reported when it is not.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    /// Tables: `[[key]]` once or more, or a single `[key]`.
    pub(crate) fn tables(&self, max: usize) -> Vec<Reader<'a>> {
        let what = format!("[[{}]]", self.key);
        if !self.is_array() {
            return self.named_table(what).into_iter().collect();
        }
        let elements = self
            .list(max, "…, or better one [[…]] for each")
            .unwrap_or_default();
        elements
            .iter()
            .filter_map(|element| element.named_table(what.clone()))
            .collect()
    }
}

/// Letters, digits, `-` and `_`, at most 64, starting with a letter or digit: safe as a file name and in tables.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// The name a file gives to what it holds: its own without folder and `.toml`.
pub(crate) fn stem(file_name: &str) -> &str {
    let base = file_name.rsplit('/').next().unwrap_or(file_name);
    base.strip_suffix(".toml").unwrap_or(base)
}
