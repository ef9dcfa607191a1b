//! The script: its lines, and whether a rule is about a call.
//!
//! ```text
//! module /path/of/the/real/module.so
//! folder /path/for/the/log/and/counts
//! rule 1 C_UnwrapKey from=1 to=1 over=process do=return:0x6
//! ```

use std::path::PathBuf;

use cryptoki_sys::{CK_ATTRIBUTE_TYPE, CK_MECHANISM_TYPE, CK_RV, CK_ULONG};

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
    data: Option<String>,
    read_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    Return(CK_RV),
    DelayMilliseconds(u64),
    Hang,
    Crash,
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
            ("data", _) => rule.data = Some(value.to_owned()),
            ("do", _) => rule.action = action(value)?,
            _ => return None,
        }
    }
    Some(rule)
}

fn action(text: &str) -> Option<Action> {
    let (name, argument) = text.split_once(':').unwrap_or((text, ""));
    match name {
        "return" => Some(Action::Return(hexadecimal(argument)?)),
        "delay" => Some(Action::DelayMilliseconds(argument.parse().ok()?)),
        "hang" => Some(Action::Hang),
        "crash" => Some(Action::Crash),
        _ => None,
    }
}

fn hexadecimal(text: &str) -> Option<CK_ULONG> {
    CK_ULONG::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

impl Rule {
    /// Whether the rule counts this call.
    pub fn is_about(&self, function: &str, seen: &Seen) -> bool {
        let class = CK_ULONG::to_ne_bytes;
        (self.function == function || self.function == "*")
            && !seen.asks_length
            && (!self.read_only || seen.read_only)
            && self
                .mechanism
                .is_none_or(|each| seen.mechanism == Some(each))
            && self
                .attribute
                .is_none_or(|each| seen.attribute(each).is_some())
            && self.class.is_none_or(|each| {
                seen.attribute(cryptoki_sys::CKA_CLASS) == Some(&class(each)[..])
            })
            && self
                .longer_than
                .is_none_or(|each| seen.data.is_some_and(|data| data.len() > each))
            && self.data.as_ref().is_none_or(|each| {
                seen.data.is_some_and(|data| {
                    data.iter()
                        .map(|byte| format!("{byte:02x}"))
                        .collect::<String>()
                        == *each
                })
            })
    }
}
