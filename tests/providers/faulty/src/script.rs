//! The script: its lines, and whether a rule is about a call.
//!
//! ```text
//! module /path/of/the/real/module.so
//! folder /path/for/the/log/and/counts
//! rule 1 C_UnwrapKey from=1 to=1 over=process do=return:0x6
//! ```

use std::path::PathBuf;

use cryptoki_sys::{CK_ATTRIBUTE_TYPE, CK_MECHANISM_TYPE, CK_RV, CK_SLOT_ID, CK_ULONG, CKA_CLASS};

use crate::seen::Seen;

/// What a test commands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    pub module: String,
    pub folder: PathBuf,
    pub rules: Vec<Rule>,
}

/// What happens at the calls `from` to `to` of one function that meet every condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub id: u64,
    pub function: String,
    pub from: u64,
    pub to: u64,
    /// Count the calls of all processes together.
    pub over_all: bool,
    /// Misbehave after the real module has done its work.
    pub after: bool,
    pub action: Action,
    mechanism: Option<CK_MECHANISM_TYPE>,
    attribute: Option<CK_ATTRIBUTE_TYPE>,
    class: Option<CK_ULONG>,
    longer_than: Option<usize>,
    data: Option<Vec<u8>>,
    label: Option<Vec<u8>>,
    slot: Option<CK_SLOT_ID>,
    read_only: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    // Instead of the real module's work, or beside it:
    Return(CK_RV),
    DelayMilliseconds(u64),
    Hang,
    Crash,
    /// Fork a child that keeps every descriptor open and does nothing.
    Fork {
        parent_dies: bool,
    },
    // Changes of the real module's work:
    Shape(Shape),
}

/// A change of what the real module does or answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// C_GetAttributeValue has this value of the attribute.
    Attribute(CK_ATTRIBUTE_TYPE, Vec<u8>),
    /// C_GetAttributeValue does not give the attribute, and returns the code.
    NoAttribute(CK_ATTRIBUTE_TYPE, CK_RV),
    /// C_GetMechanismList lacks the mechanism.
    NoMechanism(CK_MECHANISM_TYPE),
    /// There is one more slot, before all others. Its token has the label.
    Slot(CK_SLOT_ID, Vec<u8>),
    /// All processes together have at most this number of sessions.
    Sessions(usize),
    /// AES-GCM uses a new IV. The caller finds it where its own IV was (PKCS#11 3.1, 6.13.3).
    IvWritten,
    /// AES-GCM uses a new IV with this number of bytes, which follows the ciphertext and the tag.
    IvAppended(usize),
    /// The mechanism with the first number, a vendor's, is what the real module calls the second.
    Renamed(CK_MECHANISM_TYPE, CK_MECHANISM_TYPE),
    /// A person enters this PIN at the token, so the caller has none.
    EnteredPin(Vec<u8>),
}

/// Read a script. The error names the line.
pub fn parse(text: &str) -> Result<Script, String> {
    let mut script = Script::default();
    for (number, line) in text.lines().enumerate() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "module" => script.module = rest.to_owned(),
            "folder" => script.folder = rest.into(),
            "rule" => script.rules.push(
                rule(rest).ok_or_else(|| format!("line {} of the script: {line}", number + 1))?,
            ),
            _ => return Err(format!("line {} of the script: {line}", number + 1)),
        }
    }
    Ok(script)
}

fn rule(text: &str) -> Option<Rule> {
    let mut words = text.split(' ');
    let mut rule = Rule {
        id: words.next()?.parse().ok()?,
        function: words.next()?.to_owned(),
        from: 1,
        to: u64::MAX,
        over_all: false,
        after: false,
        action: Action::Hang,
        mechanism: None,
        attribute: None,
        class: None,
        longer_than: None,
        data: None,
        label: None,
        slot: None,
        read_only: false,
    };
    for word in words {
        let (key, value) = word.split_once('=')?;
        match (key, value) {
            ("from", _) => rule.from = value.parse().ok()?,
            ("to", _) => rule.to = value.parse().ok()?,
            ("over", "process") => rule.over_all = false,
            ("over", "all") => rule.over_all = true,
            ("when", "before") => rule.after = false,
            ("when", "after") => rule.after = true,
            ("session", "read-only") => rule.read_only = true,
            ("mechanism", _) => rule.mechanism = Some(hexadecimal(value)?),
            ("attribute", _) => rule.attribute = Some(hexadecimal(value)?),
            ("class", _) => rule.class = Some(hexadecimal(value)?),
            ("longer-than", _) => rule.longer_than = Some(value.parse().ok()?),
            ("data", _) => rule.data = Some(bytes(value)?),
            ("label", _) => rule.label = Some(bytes(value)?),
            ("slot", _) => rule.slot = Some(hexadecimal(value)?),
            ("do", _) => rule.action = action(value)?,
            _ => return None,
        }
    }
    Some(rule)
}

fn action(text: &str) -> Option<Action> {
    let words: Vec<&str> = text.split(':').collect();
    Some(match words[..] {
        ["return", code] => Action::Return(hexadecimal(code)?),
        ["delay", milliseconds] => Action::DelayMilliseconds(milliseconds.parse().ok()?),
        ["hang"] => Action::Hang,
        ["crash"] => Action::Crash,
        ["fork"] => Action::Fork { parent_dies: false },
        ["fork", "die"] => Action::Fork { parent_dies: true },
        _ => Action::Shape(shape(&words)?),
    })
}

fn shape(words: &[&str]) -> Option<Shape> {
    Some(match *words {
        ["attribute", kind, value] => Shape::Attribute(hexadecimal(kind)?, bytes(value)?),
        ["no-attribute", kind, code] => Shape::NoAttribute(hexadecimal(kind)?, hexadecimal(code)?),
        ["no-mechanism", mechanism] => Shape::NoMechanism(hexadecimal(mechanism)?),
        ["slot", slot, label] => Shape::Slot(hexadecimal(slot)?, bytes(label)?),
        ["sessions", most] => Shape::Sessions(most.parse().ok()?),
        ["iv-written"] => Shape::IvWritten,
        ["iv-appended", size] => Shape::IvAppended(size.parse().ok()?),
        ["renamed", vendors, real] => Shape::Renamed(hexadecimal(vendors)?, hexadecimal(real)?),
        ["entered-pin", pin] => Shape::EnteredPin(bytes(pin)?),
        _ => return None,
    })
}

/// Read bytes that are written as pairs of hexadecimal digits.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

fn hexadecimal(text: &str) -> Option<CK_ULONG> {
    CK_ULONG::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

impl Rule {
    /// Whether the call meets every condition.
    pub fn is_about(&self, function: &str, seen: &Seen) -> bool {
        let of_class = |class: CK_ULONG| {
            seen.attribute(CKA_CLASS)
                .is_some_and(|value| *value == class.to_ne_bytes())
        };
        (self.function == function || self.function == "*")
            && (!self.read_only || seen.read_only)
            && self.slot.is_none_or(|slot| seen.slot == Some(slot))
            && self
                .mechanism
                .is_none_or(|each| seen.mechanism == Some(each))
            && self
                .attribute
                .is_none_or(|kind| seen.attribute(kind).is_some())
            && self.class.is_none_or(of_class)
            && self
                .longer_than
                .is_none_or(|most| seen.data.is_some_and(|data| data.len() > most))
            && self
                .data
                .as_ref()
                .is_none_or(|data| seen.data == Some(data))
            && self
                .label
                .as_ref()
                .is_none_or(|label| seen.has_label(label))
    }
}
