//! Expressions of targets, as trees.

use std::fmt;

use crate::id::{ClientId, GroupName};
use crate::label::{LabelKey, LabelValue};

/// A part of a set of clients, in hundredths of a per cent: 0 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Share(u16);

impl Share {
    /// Everything.
    pub const ALL: Self = Self(10_000);

    /// A share in hundredths of a per cent; `None` above 10,000.
    #[must_use]
    pub fn from_hundredths(hundredths: u16) -> Option<Self> {
        (hundredths <= Self::ALL.0).then_some(Self(hundredths))
    }

    /// How many of so many clients it is, rounded up: at least one of any, unless it is 0.
    #[must_use]
    pub fn of(self, clients: u64) -> u64 {
        (clients * u64::from(self.0)).div_ceil(u64::from(Self::ALL.0))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 100, self.0 % 100);
        match (rest, rest % 10) {
            (0, _) => write!(f, "{whole}%"),
            (_, 0) => write!(f, "{whole}.{}%", rest / 10),
            _ => write!(f, "{whole}.{rest:02}%"),
        }
    }
}

/// An expression that says who is meant. Printed in the one form that the parser gives back as
/// this same tree, as long as it was made by the parser or by the functions here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expr {
    /// Every client.
    All,
    /// The members of a group.
    Group(GroupName),
    /// One client.
    Client(ClientId),
    /// Those whose label has a value.
    Label(LabelKey, LabelValue),
    /// Those that have a label, whatever its value.
    Labelled(LabelKey),
    /// All others.
    Not(Box<Expr>),
    /// Those that all parts mean; at least two parts, none of them an `And`.
    And(Vec<Expr>),
    /// Those that any part means; at least two parts, none of them an `Or`.
    Or(Vec<Expr>),
    /// A sample.
    Sample(Share, Box<Expr>),
}

impl Expr {
    /// Those that are not meant by `expr`.
    #[must_use]
    pub fn negated(expr: Self) -> Self {
        Self::Not(Box::new(expr))
    }

    /// A sample of those that `expr` means.
    #[must_use]
    pub fn sample(share: Share, expr: Self) -> Self {
        Self::Sample(share, Box::new(expr))
    }

    /// Those that both mean.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let mut parts = match self {
            Self::And(parts) => parts,
            one => vec![one],
        };
        match other {
            Self::And(more) => parts.extend(more),
            one => parts.push(one),
        }
        Self::And(parts)
    }

    /// Those that either means.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let mut parts = match self {
            Self::Or(parts) => parts,
            one => vec![one],
        };
        match other {
            Self::Or(more) => parts.extend(more),
            one => parts.push(one),
        }
        Self::Or(parts)
    }

    /// The parts of the tree, this one first.
    pub fn walk(&self) -> impl Iterator<Item = &Self> {
        let mut stack = vec![self];
        std::iter::from_fn(move || {
            let expr = stack.pop()?;
            match expr {
                Self::Not(inner) | Self::Sample(_, inner) => stack.push(inner),
                Self::And(parts) | Self::Or(parts) => stack.extend(parts.iter().rev()),
                _ => {}
            }
            Some(expr)
        })
    }

    /// Whether it has a sample, so that who is meant depends on whose run it is.
    #[must_use]
    pub fn is_drawn(&self) -> bool {
        self.walk().any(|part| matches!(part, Self::Sample(..)))
    }

    /// How tightly its outermost word binds.
    fn tightness(&self) -> u8 {
        match self {
            Self::Or(_) => 0,
            Self::And(_) => 1,
            _ => 2,
        }
    }

    fn print(&self, f: &mut fmt::Formatter<'_>, within: u8) -> fmt::Result {
        if self.tightness() < within {
            f.write_str("(")?;
            self.print(f, 0)?;
            return f.write_str(")");
        }
        match self {
            Self::All => f.write_str("all"),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::Client(id) => write!(f, "client:{id}"),
            Self::Label(key, value) => write!(f, "label.{key} = {}", Quoted(value)),
            Self::Labelled(key) => write!(f, "label.{key}"),
            Self::Not(inner) => match &**inner {
                Self::Label(key, value) => write!(f, "label.{key} != {}", Quoted(value)),
                inner => {
                    f.write_str("not ")?;
                    inner.print(f, 2)
                }
            },
            Self::Sample(share, inner) => {
                write!(f, "{share} of ")?;
                inner.print(f, 2)
            }
            Self::And(parts) => print_parts(f, parts, " and ", 2),
            Self::Or(parts) => print_parts(f, parts, " or ", 1),
        }
    }
}

fn print_parts(f: &mut fmt::Formatter<'_>, parts: &[Expr], word: &str, within: u8) -> fmt::Result {
    for (place, part) in parts.iter().enumerate() {
        f.write_str(if place == 0 { "" } else { word })?;
        part.print(f, within)?;
    }
    Ok(())
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.print(f, 0)
    }
}

/// A value in quotes, unless it is a plain word.
struct Quoted<'a>(&'a LabelValue);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.as_str();
        let plain = |c: char| c.is_ascii_alphanumeric() || "._:-/+@".contains(c);
        if !text.is_empty() && text.chars().all(plain) && !super::parse::is_keyword(text) {
            return f.write_str(text);
        }
        f.write_str("\"")?;
        for c in text.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}
