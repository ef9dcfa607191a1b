//! The rules of now, and how many calls each has counted.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;

use crate::real;
use crate::script::{self, Action, Rule};
use crate::seen::Seen;

/// A script is another one when its file is another (inode) or was written to.
type Stamp = (u64, i64, i64, u64);

struct State {
    stamp: Option<Stamp>,
    rules: Vec<Rule>,
    counts: HashMap<u64, u64>,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

/// What a rule does at this call.
pub struct Due {
    pub rule: u64,
    pub after: bool,
    pub action: Action,
}

/// Count the call, and return what the rules do at it, in the order of the script.
///
/// A call that only asks for a length is not counted: the rules of the next call shape its answer.
pub fn due(function: &str, seen: &Seen) -> Result<Vec<Due>, String> {
    let mut state = STATE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let state = state.get_or_insert_with(|| State {
        stamp: None,
        rules: Vec::new(),
        counts: HashMap::new(),
    });
    read_again(state)?;
    let mut due = Vec::new();
    for rule in &state.rules {
        if !rule.is_about(function, seen) {
            continue;
        }
        let count = if rule.over_all {
            count_over_all(rule.id, seen.asks_length)?
        } else {
            let count = state.counts.entry(rule.id).or_default();
            let next = *count + 1;
            if !seen.asks_length {
                *count = next;
            }
            next
        };
        if (rule.from..=rule.to).contains(&count) {
            due.push(Due {
                rule: rule.id,
                after: rule.after,
                action: rule.action.clone(),
            });
        }
    }
    Ok(due)
}

/// Read the script when it has changed. A rule keeps its count while its id stays.
fn read_again(state: &mut State) -> Result<(), String> {
    let path = real::script();
    let problem = |error| format!("cannot read the script {path:?}: {error}");
    let file = std::fs::metadata(path).map_err(problem)?;
    let stamp = Some((file.ino(), file.mtime(), file.mtime_nsec(), file.len()));
    if state.stamp != stamp {
        state.rules = script::parse(&std::fs::read_to_string(path).map_err(problem)?)?.rules;
        state.stamp = stamp;
    }
    Ok(())
}

/// Count one more call of a rule in the file that all processes share, or only say its number.
fn count_over_all(id: u64, only_say: bool) -> Result<u64, String> {
    let path = real::folder().join(format!("count-{id}"));
    let problem = |error| format!("cannot count in {path:?}: {error}");
    let mut file = locked(&path).map_err(problem)?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(problem)?;
    let count = text.trim().parse::<u64>().unwrap_or(0) + 1;
    if only_say {
        return Ok(count);
    }
    file.rewind().map_err(problem)?;
    writeln!(file, "{count}").map_err(problem)?;
    Ok(count)
}

/// Open a file and wait for its lock, which ends with the returned file (flock(2)).
pub fn locked(path: &Path) -> std::io::Result<File> {
    let file = opened(path)?;
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(file)
}

/// Open a file for reading and writing, and make it if there is none.
pub fn opened(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}
