//! A mistake in a user's file: what is wrong, where it stands, what to do about it; rendered as rustc does.
//!
//! Knows nothing of what the files mean.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::fmt;
use std::ops::Range;

/// A file as it was read: the name shown to the user and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The name shown in messages, as the user gave it.
    pub name: String,
    /// The whole text; spans are byte offsets into it.
    pub text: String,
}

/// Largest file taken, in bytes: every real one is a thousand times smaller.
pub const MAX_SOURCE: usize = 1 << 20;

impl Source {
    /// The file called `name` with the content `bytes`, when it is UTF-8 text of a sane size.
    pub fn from_bytes(name: impl Into<String>, bytes: &[u8]) -> Result<Self, Diagnostics> {
        let name = name.into();
        let empty = |name| Self {
            name,
            text: String::new(),
        };
        if bytes.len() > MAX_SOURCE {
            return Err(Diagnostics::single(&empty(name), too_large()));
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                let source = Self {
                    name,
                    text: text.to_string(),
                };
                match source.check() {
                    Ok(()) => Ok(source),
                    Err(mistake) => Err(Diagnostics::single(&source, mistake)),
                }
            }
            Err(error) => {
                let start = error.valid_up_to();
                let line = 1 + bytes.iter().take(start).filter(|b| **b == b'\n').count();
                let mistake = Diagnostic::whole(format!(
                    "line {line} of {} is not UTF-8 text",
                    one_line(&name, 200)
                ))
                .hint("save the file as UTF-8");
                Err(Diagnostics::single(&empty(name), mistake))
            }
        }
    }

    /// What makes a text unfit to be parsed at all.
    pub(crate) fn check(&self) -> Result<(), Diagnostic> {
        if self.text.len() > MAX_SOURCE {
            return Err(too_large());
        }
        match self.text.find('\0') {
            Some(at) => {
                Err(Diagnostic::at(at..at + 1, "the file has a NUL byte").hint("save the file as plain text"))
            }
            None => Ok(()),
        }
    }
}

/// How much larger is not known: nothing beyond the limit is read.
fn too_large() -> Diagnostic {
    Diagnostic::whole(format!(
        "the file has more than 1 MiB; at most {MAX_SOURCE} bytes are read"
    ))
    .hint("is this the right file?")
}

/// `text` as one short line that cannot drive a terminal: cut to `max` characters, the rest escaped.
pub fn one_line(text: &str, max: usize) -> String {
    let mut line = String::new();
    for c in text.trim().chars().take(max) {
        match c {
            '"' | '\'' | '\\' => line.push(c),
            _ => line.extend(c.escape_debug()),
        }
    }
    if text.trim().chars().nth(max).is_some() {
        line.push('…');
    }
    line
}

/// One mistake in a [`Source`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, as a lowercase sentence without a full stop.
    pub message: String,
    /// Byte range in the source it stands at, when there is one.
    pub span: Option<Range<usize>>,
    /// A few words put under the marked place.
    pub label: String,
    /// What to try next.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A mistake at `span`.
    pub fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            span: Some(span),
            label: String::new(),
            hint: None,
        }
    }

    /// A mistake of the file as a whole.
    pub fn whole(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            span: None,
            label: String::new(),
            hint: None,
        }
    }

    /// Adds the words under the marked place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds what to try next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn render(&self, source: &Source, renderer: &Renderer) -> String {
        let title = Level::ERROR.primary_title(self.message.as_str());
        let mut groups = vec![match &self.span {
            Some(span) => {
                let end = span.end.min(source.text.len());
                let marked = AnnotationKind::Primary.span(span.start.min(end)..end);
                let marked = if self.label.is_empty() {
                    marked
                } else {
                    marked.label(self.label.as_str())
                };
                title.element(
                    Snippet::source(source.text.as_str())
                        .path(source.name.as_str())
                        .annotation(marked),
                )
            }
            None => title.element(Origin::path(source.name.as_str())),
        }];
        if let Some(hint) = &self.hint {
            groups.push(Group::with_title(Level::HELP.secondary_title(hint.as_str())));
        }
        renderer.render(&groups)
    }
}

/// Every mistake found in one file; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    source: Source,
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Gathers the mistakes of `source`, or gives `None` when there are none.
    pub fn gather(source: &Source, list: Vec<Diagnostic>) -> Option<Self> {
        (!list.is_empty()).then(|| Self {
            source: source.clone(),
            list,
        })
    }

    /// A single mistake.
    pub fn single(source: &Source, mistake: Diagnostic) -> Self {
        Self {
            source: source.clone(),
            list: vec![mistake],
        }
    }

    /// The mistakes, in the order found.
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }

    /// The text for a person, coloured when `colour` is set.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let parts: Vec<_> = self
            .list
            .iter()
            .map(|d| d.render(&self.source, &renderer))
            .collect();
        parts.join("\n\n")
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_the_place_and_gives_the_hint() {
        let source = Source {
            name: "a.toml".into(),
            text: "x = 1\nlevels = \"bad\"\n".into(),
        };
        let list = vec![
            Diagnostic::at(15..20, "unknown level")
                .label("here")
                .hint("try another"),
            Diagnostic::whole("no workload"),
        ];
        let text = Diagnostics::gather(&source, list)
            .map(|d| d.render(false))
            .unwrap_or_default();
        assert!(text.contains("error: unknown level"), "{text}");
        assert!(text.contains("a.toml:2:10"), "{text}");
        assert!(text.contains("here"), "{text}");
        assert!(text.contains("help: try another"), "{text}");
        assert!(text.contains("error: no workload"), "{text}");
    }
}
