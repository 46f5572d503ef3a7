//! Rust source as tokens: what it names, without comments, texts and tests. Knows no rules.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use std::iter::Peekable;

/// A path such as `crate::host::Host`, with `use` groups spelled out, and the line it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
}

/// The code without items under `#[cfg(test)]`.
pub(crate) fn without_tests(tokens: TokenStream) -> TokenStream {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        if is_punct(&token, '#') && tokens.peek().is_some_and(is_cfg_test) {
            let ends_item = |t: &TokenTree| is_punct(t, ';') || is_group(t, Delimiter::Brace);
            tokens.by_ref().find(ends_item);
            continue;
        }
        kept.push(match token {
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), without_tests(group.stream()));
                inner.set_span(group.span());
                TokenTree::Group(inner)
            }
            other => other,
        });
    }
    kept.into_iter().collect()
}

/// The modules declared as `#[cfg(test)] mod name;`.
pub(crate) fn test_modules(tokens: TokenStream) -> Vec<String> {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let declared = tokens.windows(2).enumerate().filter_map(|(i, pair)| {
        let attributes = (0..i)
            .rev()
            .step_by(2)
            .take_while(|&at| is_group(&tokens[at], Delimiter::Bracket));
        let mut attributes = attributes.map(|at| &tokens[at]);
        let is_module = pair[0].to_string() == "mod" && attributes.any(is_cfg_test);
        is_module.then(|| pair[1].to_string())
    });
    declared.collect()
}

/// Everything the code names.
pub(crate) fn names(tokens: TokenStream) -> Vec<Name> {
    let mut names = Vec::new();
    collect(tokens, &[], &mut names);
    names
}

fn collect(tokens: TokenStream, prefix: &[String], names: &mut Vec<Name>) {
    let mut tokens = tokens.into_iter().peekable();
    let mut after_use = false;
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(ident) if ident == "use" => after_use = true,
            TokenTree::Ident(ident) => {
                let mut segments = prefix.to_vec();
                let line = ident.span().start().line;
                segments.push(ident.to_string());
                let rest = rest_of_path(&mut tokens, &mut segments);
                if std::mem::take(&mut after_use) && rest.is_none() && segments.len() == 1 {
                    // `use clap;` is `use clap::{self};`
                    segments.push("self".into());
                }
                match rest {
                    Some(group) => collect(group.stream(), &segments, names),
                    None => names.push(Name { line, segments }),
                }
            }
            TokenTree::Group(group) => collect(group.stream(), &[], names),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Takes `::a::b` from the tokens, and returns the group when it ends in `::{…}`.
fn rest_of_path(
    tokens: &mut Peekable<impl Iterator<Item = TokenTree>>,
    segments: &mut Vec<String>,
) -> Option<Group> {
    loop {
        tokens.next_if(|t| is_joint(t, ':'))?;
        tokens.next_if(|t| is_punct(t, ':'))?;
        match tokens.next_if(|t| matches!(t, TokenTree::Ident(_)) || is_group(t, Delimiter::Brace))? {
            TokenTree::Group(group) => return Some(group),
            ident => segments.push(ident.to_string()),
        }
    }
}

/// The lines in which `name!` is called.
pub(crate) fn macro_calls(tokens: TokenStream, name: &str) -> Vec<usize> {
    pattern(tokens, &|window| {
        window[0].to_string() == name && is_punct(&window[1], '!') && matches!(window[2], TokenTree::Group(_))
    })
}

/// The lines in which `.name(…)` is called.
pub(crate) fn method_calls(tokens: TokenStream, name: &str) -> Vec<usize> {
    pattern(tokens, &|window| {
        is_punct(&window[0], '.')
            && window[1].to_string() == name
            && is_group(&window[2], Delimiter::Parenthesis)
    })
}

/// The lines of every three tokens in a row that `fits`, at any depth.
fn pattern(tokens: TokenStream, fits: &dyn Fn(&[TokenTree]) -> bool) -> Vec<usize> {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let found = tokens.windows(3).filter(|window| fits(window));
    let mut lines: Vec<_> = found.map(|window| window[1].span().start().line).collect();
    for token in tokens {
        if let TokenTree::Group(group) = token {
            lines.extend(pattern(group.stream(), fits));
        }
    }
    lines.sort_unstable();
    lines
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(p) if p.as_char() == wanted)
}

fn is_joint(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(p) if p.as_char() == wanted && p.spacing() == proc_macro2::Spacing::Joint)
}

fn is_group(token: &TokenTree, wanted: Delimiter) -> bool {
    matches!(token, TokenTree::Group(g) if g.delimiter() == wanted)
}

/// True for the brackets of `#[cfg(test)]`.
fn is_cfg_test(token: &TokenTree) -> bool {
    is_group(token, Delimiter::Bracket) && token.to_string().replace(' ', "") == "[cfg(test)]"
}
