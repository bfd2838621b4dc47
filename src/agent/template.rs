//! Templates of arguments: `{param}` stands for a parameter's value, `{{` and `}}` for braces.
//!
//! Promises: one template gives exactly one argument, whatever the values hold.
//! Imports nothing of fleetcron.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// One argument of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Param(String),
}

impl Template {
    /// Reads a template; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.contains('\0') {
            return Err("contains a NUL character".into());
        }
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            literal.push_str(before);
            if let Some(after) = from.strip_prefix("{{") {
                literal.push('{');
                rest = after;
            } else if let Some(after) = from.strip_prefix("}}") {
                literal.push('}');
                rest = after;
            } else if let Some(inner) = from.strip_prefix('{') {
                let (name, after) =
                    inner.split_once('}').ok_or("has a { without a }; write {{ for a brace")?;
                if name.is_empty() {
                    return Err("has {} without a param's name; write {{}} for braces".into());
                }
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Param(name.into()));
                rest = after;
            } else {
                return Err("has a } without a {; write }} for a brace".into());
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self(pieces))
    }

    /// The params that it names.
    pub(super) fn params(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Param(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The params whose value can be the argument's beginning: no fixed text is before them.
    pub(super) fn leading_params(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map_while(|piece| match piece {
            Piece::Param(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The argument. A param without a value stands for nothing; the configuration is refused
    /// when a template names a param that is not declared.
    pub(super) fn render(&self, values: &BTreeMap<&str, OsString>) -> OsString {
        let mut argument = OsString::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => argument.push(text),
                Piece::Param(name) => {
                    if let Some(value) = values.get(name.as_str()) {
                        argument.push(value);
                    }
                }
            }
        }
        argument
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(template: &str) -> OsString {
        let values = BTreeMap::from([("a", "x y".into()), ("b", "{a}".into())]);
        Template::parse(template).unwrap().render(&values)
    }

    #[test]
    fn values_stay_within_their_argument_and_are_not_expanded_again() {
        assert_eq!(rendered("{a}"), "x y");
        assert_eq!(rendered("--of={a}/{b}"), "--of=x y/{a}");
        assert_eq!(rendered("{{a}} {{{a}}}"), "{a} {x y}");
        assert_eq!(rendered(""), "");
    }

    #[test]
    fn bad_templates_are_told() {
        let problem = |text| Template::parse(text).unwrap_err();
        assert_eq!(problem("{a"), "has a { without a }; write {{ for a brace");
        assert_eq!(problem("a}"), "has a } without a {; write }} for a brace");
        assert_eq!(problem("{}"), "has {} without a param's name; write {{}} for braces");
        assert_eq!(problem("a\0"), "contains a NUL character");
    }

    #[test]
    fn params_that_can_begin_the_argument_are_known() {
        let template = Template::parse("{a}{b}-{c}").unwrap();
        assert_eq!(template.leading_params().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(template.params().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(Template::parse("--{a}").unwrap().leading_params().count(), 0);
    }
}
