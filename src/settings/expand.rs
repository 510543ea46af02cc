//! Replaces references in a value: `${env:NAME}`, `${env:NAME:-text}`, `${file:PATH}` and `$$`.

use std::ffi::OsString;
use std::io;

use otelet_core::text::{NotText, clip, decode, without_blank_end};

use super::world::{LARGEST_FILE, World};

/// Why a reference cannot be replaced, and the system's error.
pub(crate) type ExpandError = (String, Option<io::Error>);

/// Replaces `${env:NAME}`, `${env:NAME:-text}`, `${file:PATH}` and `$$`. `None` if there is no `${}` in it.
///
/// As in the Collector, a lone `$` stays, and the replacement is not expanded again.
pub(crate) fn expand(text: &str, world: &World) -> Result<Option<String>, ExpandError> {
    let mut out = String::new();
    let mut replaced = false;
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out += &rest[..at];
        rest = &rest[at + 1..];
        if let Some(inner) = rest.strip_prefix('{') {
            let (inner, after) =
                inner.split_once('}').ok_or(("\"${\" without \"}\"; write $$ for a dollar sign".to_owned(), None))?;
            out += &replacement(inner, world)?;
            rest = after;
            replaced = true;
        } else {
            out.push('$');
            rest = rest.strip_prefix('$').unwrap_or(rest);
        }
    }
    out += rest;
    Ok(replaced.then_some(out))
}

/// The flaw of a variable without value.
pub(crate) const EMPTY: &str = "is empty";

/// The flaw of a variable's value, in words after its name. Files that set variables are read in many ways:
/// quotes and carriage returns that a shell would drop stay in with `docker --env-file` and in unit files.
pub(crate) fn flaw(value: &str) -> Option<&'static str> {
    let quoted = |quote| value.len() > 1 && value.starts_with(quote) && value.ends_with(quote);
    match value {
        "" => Some(EMPTY),
        _ if value.ends_with('\r') => {
            Some("ends with a carriage return; give the file that sets it Unix line ends, without CR")
        }
        _ if quoted('"') || quoted('\'') => Some("is in quotes, which count as part of it; leave them out"),
        _ if value.trim() != value => Some("begins or ends with a blank, which counts as part of it"),
        _ => None,
    }
}

/// The flaws of the variables that a text refers to.
pub(crate) fn flaws(text: &str, world: &World) -> Vec<String> {
    let references = text.split("${env:").skip(1).filter_map(|rest| rest.split('}').next());
    let flaw = |reference: &str| {
        let name = reference.split(":-").next().unwrap_or_default();
        let value = (world.var)(name)?;
        // The line end that a file left in it is left out.
        let value = value.to_str()?.trim_end_matches(['\r', '\n']);
        Some(format!("the variable {} {}", clip(name), flaw(value)?))
    };
    references.filter_map(flaw).collect()
}

/// Returns the replacement for `${inner}`.
fn replacement(inner: &str, world: &World) -> Result<String, ExpandError> {
    let fail = |problem: &str| Err((problem.to_owned(), None));
    if let Some(name) = inner.strip_prefix("env:") {
        let (name, default) = match name.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (name, None),
        };
        if name.is_empty() || name.contains(['=', '\0']) {
            return fail("${env:} needs the name of a variable");
        }
        let shown = clip(name);
        // As in the Collector, the default is used for a variable that is not set, but not for an empty one.
        return match ((world.var)(name).map(OsString::into_string), default) {
            // A file of variables with line ends of Windows leaves its CR in them.
            (Some(Ok(value)), _) => Ok(value.trim_end_matches(['\r', '\n']).to_owned()),
            (Some(Err(_)), _) => fail(&format!("the value of the variable {shown} is not UTF-8")),
            (None, Some(default)) => Ok(default.to_owned()),
            (None, None) => fail(&format!("the variable {shown} is not set; set it, or write ${{env:{shown}:-text}}")),
        };
    }
    let Some(path) = inner.strip_prefix("file:") else {
        return fail("only ${env:NAME} and ${file:PATH} are known; write $$ for a dollar sign");
    };
    let path = super::location::path(path, world).map_err(|why| (format!("${{file:{}}}: {why}", clip(path)), None))?;
    let shown = path.display();
    let bytes = (world.read)(&path).map_err(|cause| (format!("cannot read {shown}"), Some(cause)))?;
    if bytes.len() > LARGEST_FILE {
        return fail(&format!("{shown} is larger than 1MiB"));
    }
    match decode(bytes) {
        Ok(text) => Ok(without_blank_end(&text).to_owned()),
        Err(NotText::NotUtf8 { .. }) => fail(&format!("{shown} is not UTF-8")),
        Err(why @ NotText::Utf16) => fail(&format!("{shown} {why}")),
    }
}
