//! From the text of a target to its tree: recursive descent, one word after the other.
//!
//! ```text
//! or     = and { "or" and }
//! and    = unary { "and" unary }
//! unary  = "not" unary | SHARE "%" "of" unary | "(" or ")" | term
//! term   = "all" | "group:" NAME | "client:" ID | "label." KEY [ ( "=" | "!=" ) VALUE ]
//! ```

use super::{Expr, MAX_DEPTH, Share};
use crate::suggest::did_you_mean;

/// The words that have a meaning of their own.
const KEYWORDS: [&str; 5] = ["all", "not", "and", "or", "of"];

/// How a term can begin, for suggestions.
const BEGINNINGS: [&str; 5] = ["all", "group", "client", "label", "not"];

/// What can be written, for those who wrote something else.
const FORMS: &str = "write all, group:NAME, client:ID or label.KEY = VALUE, \
                     joined by and, or, not, N% of, ( )";

/// Whether a word has a meaning of its own.
pub(super) fn is_keyword(word: &str) -> bool {
    KEYWORDS.contains(&word)
}

/// What is wrong, and where: a byte offset.
pub(super) struct Bad {
    pub(super) offset: usize,
    pub(super) problem: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Open,
    Close,
    Is,
    IsNot,
    End,
}

impl Token {
    fn shown(&self) -> String {
        match self {
            Self::Word(word) => format!("{word:?}"),
            Self::Quoted(text) => format!("the text {text:?}"),
            Self::Open => "\"(\"".into(),
            Self::Close => "\")\"".into(),
            Self::Is => "\"=\"".into(),
            Self::IsNot => "\"!=\"".into(),
            Self::End => "the end".into(),
        }
    }
}

/// The tree of a whole text.
pub(super) fn parse(text: &str) -> Result<Expr, Bad> {
    let mut parser = Parser { text, next: 0, token: Token::End, offset: 0, depth: 0 };
    parser.advance()?;
    let expr = parser.any()?;
    if parser.token == Token::End { Ok(expr) } else { Err(parser.not_joined()) }
}

struct Parser<'a> {
    text: &'a str,
    /// Where the token after the one at hand may begin.
    next: usize,
    /// The token at hand.
    token: Token,
    /// Where it begins.
    offset: usize,
    depth: usize,
}

impl Parser<'_> {
    fn bad<T>(&self, problem: impl Into<String>) -> Result<T, Bad> {
        Err(Bad { offset: self.offset, problem: problem.into() })
    }

    /// Goes on to the next token.
    fn advance(&mut self) -> Result<(), Bad> {
        let rest = &self.text[self.next..];
        let start = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
        let rest = &rest[start..];
        self.offset = self.next + start;
        let (token, length) = match rest.chars().next() {
            None => (Token::End, 0),
            Some('(') => (Token::Open, 1),
            Some(')') => (Token::Close, 1),
            Some('=') => (Token::Is, 1),
            Some('!') if rest.starts_with("!=") => (Token::IsNot, 2),
            Some('"') => self.quoted(rest)?,
            Some(c) if ends_word(c) => return self.bad(format!("unexpected {c:?}")),
            Some(_) => {
                let length = rest.find(ends_word).unwrap_or(rest.len());
                (Token::Word(rest[..length].to_owned()), length)
            }
        };
        self.token = token;
        self.next = self.offset + length;
        Ok(())
    }

    /// A text in quotes, with `\"` and `\\` in it, and its length with them.
    fn quoted(&self, rest: &str) -> Result<(Token, usize), Bad> {
        let mut text = String::new();
        let mut chars = rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => return Ok((Token::Quoted(text), at + 1)),
                '\\' => match chars.next() {
                    Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                    _ => return self.bad("after \\ in a text in quotes comes \" or \\"),
                },
                c => text.push(c),
            }
        }
        self.bad("a text in quotes has no end")
    }

    fn takes(&mut self, word: &str) -> Result<bool, Bad> {
        let there = matches!(&self.token, Token::Word(found) if found == word);
        if there {
            self.advance()?;
        }
        Ok(there)
    }

    fn any(&mut self) -> Result<Expr, Bad> {
        let mut expr = self.all()?;
        while self.takes("or")? {
            expr = expr.or(self.all()?);
        }
        Ok(expr)
    }

    fn all(&mut self) -> Result<Expr, Bad> {
        let mut expr = self.unary()?;
        while self.takes("and")? {
            expr = expr.and(self.unary()?);
        }
        Ok(expr)
    }

    fn unary(&mut self) -> Result<Expr, Bad> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.bad(format!("it is nested deeper than {MAX_DEPTH}"));
        }
        let expr = match self.token.clone() {
            Token::Open => {
                self.advance()?;
                let expr = self.any()?;
                if self.token == Token::End {
                    return self.bad("a \")\" is missing");
                }
                if self.token != Token::Close {
                    return Err(self.not_joined());
                }
                self.advance()?;
                expr
            }
            Token::Word(word) if word == "not" => {
                self.advance()?;
                Expr::negated(self.unary()?)
            }
            Token::Word(word) if word.ends_with('%') => self.sample(&word)?,
            Token::Word(word) => self.term(&word)?,
            other => return self.bad(format!("expected a target, not {}", other.shown())),
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn sample(&mut self, word: &str) -> Result<Expr, Bad> {
        let Some(share) = share(word) else {
            return self.bad(format!(
                "{word:?} is not a share: write 0% to 100%, with two decimal places at most"
            ));
        };
        self.advance()?;
        if !self.takes("of")? {
            return self.bad(format!("expected \"of\" after {word:?}, not {}", self.token.shown()));
        }
        Ok(Expr::sample(share, self.unary()?))
    }

    fn term(&mut self, word: &str) -> Result<Expr, Bad> {
        let name =
            |error: crate::InvalidName| Bad { offset: self.offset, problem: error.to_string() };
        let expr = if word == "all" {
            Expr::All
        } else if let Some(group) = word.strip_prefix("group:") {
            Expr::Group(group.parse().map_err(name)?)
        } else if let Some(client) = word.strip_prefix("client:") {
            Expr::Client(client.parse().map_err(name)?)
        } else if let Some(key) = word.strip_prefix("label.") {
            return self.label(key);
        } else if is_keyword(word) {
            return self.bad(format!("expected a target, not {word:?}"));
        } else {
            let head = word.split([':', '.']).next().unwrap_or(word);
            let near = did_you_mean(head, BEGINNINGS);
            let near = if near.is_empty() { format!("; {FORMS}") } else { near };
            return self.bad(format!("unknown word {head:?}{near}"));
        };
        self.advance()?;
        Ok(expr)
    }

    fn label(&mut self, key: &str) -> Result<Expr, Bad> {
        let key = match key.parse() {
            Ok(key) => key,
            Err(error) => return self.bad(format!("{error}")),
        };
        self.advance()?;
        let same = match self.token {
            Token::Is => true,
            Token::IsNot => false,
            _ => return Ok(Expr::Labelled(key)),
        };
        self.advance()?;
        let value = match &self.token {
            Token::Word(word) if is_keyword(word) => {
                let problem =
                    format!("expected a value; write {word:?} in quotes to mean the word");
                return self.bad(problem);
            }
            Token::Word(text) | Token::Quoted(text) => text.parse(),
            other => return self.bad(format!("expected a value, not {}", other.shown())),
        };
        let value = match value {
            Ok(value) => value,
            Err(error) => return self.bad(format!("{error}")),
        };
        self.advance()?;
        let label = Expr::Label(key, value);
        Ok(if same { label } else { Expr::negated(label) })
    }

    /// The token at hand follows a whole expression and joins nothing to it.
    fn not_joined(&self) -> Bad {
        let near = match &self.token {
            Token::Word(word) => did_you_mean(word, ["and", "or"]),
            _ => String::new(),
        };
        let found = self.token.shown();
        let problem = format!("expected \"and\", \"or\" or the end, not {found}{near}");
        Bad { offset: self.offset, problem }
    }
}

/// Whether a character ends a word.
fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | '=' | '!' | '"' | ',')
}

/// A share written as `10%` or `0.25%`.
fn share(word: &str) -> Option<Share> {
    let number = word.strip_suffix('%')?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !(1..=3).contains(&whole.len()) || !(1..=2).contains(&decimals.len()) {
        return None;
    }
    if !digits(whole) || !digits(decimals) {
        return None;
    }
    let hundredths = format!("{decimals:0<2}").parse::<u32>().ok()?;
    Share::from_hundredths(u16::try_from(whole.parse::<u32>().ok()? * 100 + hundredths).ok()?)
}
