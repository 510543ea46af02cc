//! Completions for bash, zsh and fish, from the same rows as the help. Pure.

use super::command::COMMANDS;
use super::flags;
use crate::settings::schema::{Row, ValueKind};

/// Completions for bash, for a file in `/usr/share/bash-completion/completions`.
pub fn bash() -> String {
    let commands: Vec<&str> = COMMANDS.iter().map(|command| command.1).collect();
    let mut flags = Vec::new();
    let (mut words, mut files) = (String::new(), Vec::new());
    for (flag, row) in rows() {
        flags.push(if row.takes == ValueKind::Nothing { flag.clone() } else { format!("{flag}=") });
        match row.takes {
            ValueKind::Choice(choice) => {
                let choice = choice.replace('|', " ");
                words += &format!("    {flag}) COMPREPLY=($(compgen -W '{choice}' -- \"$word\")) ;;\n");
            }
            _ if is_path(row) => files.push(flag),
            _ => {}
        }
    }
    format!(
        "# Completion of otelet for bash.\n\
         _otelet() {{\n\
         \x20   local word=${{COMP_WORDS[COMP_CWORD]}} flag=\n\
         \x20   # To bash, --flag=value is three words.\n\
         \x20   if [ \"$word\" = = ]; then\n\
         \x20       flag=${{COMP_WORDS[COMP_CWORD - 1]}} word=\n\
         \x20   elif [ \"${{COMP_WORDS[COMP_CWORD - 1]}}\" = = ]; then\n\
         \x20       flag=${{COMP_WORDS[COMP_CWORD - 2]}}\n\
         \x20   fi\n\
         \x20   case $flag in\n\
         {words}\
         \x20   {}) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n\
         \x20   ?*) COMPREPLY=() ;;\n\
         \x20   *)\n\
         \x20       COMPREPLY=($(compgen -W '{} {}' -- \"$word\"))\n\
         \x20       if [[ ${{COMPREPLY-}} == *= ]]; then compopt -o nospace; fi\n\
         \x20       ;;\n\
         \x20   esac\n\
         }}\n\
         complete -F _otelet otelet\n",
        files.join(" | "),
        commands.join(" "),
        flags.join(" "),
    )
}

/// Completions for zsh, for a file in a directory of `fpath`.
pub fn zsh() -> String {
    let mut text = "#compdef otelet\n# Completion of otelet for zsh.\n_arguments \\\n".to_owned();
    for (flag, row) in rows() {
        let (value, action) = match row.takes {
            ValueKind::Nothing => (String::new(), String::new()),
            ValueKind::Choice(choice) => ("=-".to_owned(), format!(":value:({})", choice.replace('|', " "))),
            _ if is_path(row) => ("=-".to_owned(), ":file:_files".to_owned()),
            _ => ("=-".to_owned(), format!(":{}:", row.value().replace(':', "\\:"))),
        };
        let help = first_sentence(row).replace('[', "\\[").replace(']', "\\]").replace(':', "\\:");
        text += &format!("    {} \\\n", quoted(&format!("{flag}{value}[{help}]{action}")));
    }
    let commands = COMMANDS.iter().map(|(_, name, help)| {
        let help = help.replace(':', "\\:").replace('"', "\\\"");
        format!("{name}\\:\"{help}\"")
    });
    text + &format!("    {}\n", quoted(&format!("1:command:(({}))", commands.collect::<Vec<_>>().join(" "))))
}

/// Completions for fish, for a file in a directory of `fish_complete_path`.
pub fn fish() -> String {
    let mut text = "# Completion of otelet for fish.\ncomplete -c otelet -f\n".to_owned();
    for (_, name, help) in COMMANDS {
        text += &format!("complete -c otelet -n __fish_use_subcommand -a {name} -d {}\n", quoted_for_fish(help));
    }
    for (flag, row) in rows() {
        let name = flag.trim_start_matches("--");
        let value = match row.takes {
            ValueKind::Nothing => String::new(),
            ValueKind::Choice(choice) => format!(" -x -a {}", quoted_for_fish(&choice.replace('|', " "))),
            _ if is_path(row) => " -r -F".to_owned(),
            _ => " -x".to_owned(),
        };
        text += &format!("complete -c otelet -l {name}{value} -d {}\n", quoted_for_fish(first_sentence(row)));
    }
    text
}

/// The rows that have a flag, with that flag.
fn rows() -> impl Iterator<Item = (String, &'static Row)> {
    flags::rows().filter_map(|row| Some((row.flag()?, row)))
}

fn is_path(row: &Row) -> bool {
    row.takes == ValueKind::Text("PATH")
}

/// The help up to its first full stop: a list has no room for more.
fn first_sentence(row: &Row) -> &'static str {
    row.help.split_once(". ").map_or(row.help, |(first, _)| first).trim_end_matches('.')
}

/// Puts a text in single quotes for POSIX shells.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Puts a text in single quotes for fish, which has escapes inside of them.
fn quoted_for_fish(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_completes_every_flag_and_command() {
        for (flag, _) in rows() {
            assert!(bash().contains(&flag), "{flag}");
            assert!(zsh().contains(&format!("'{flag}")), "{flag}");
            assert!(fish().contains(&format!(" -l {} ", flag.trim_start_matches("--"))), "{flag}");
        }
        for (_, name, _) in COMMANDS {
            assert!(bash().contains(name) && zsh().contains(name) && fish().contains(&format!("-a {name} ")), "{name}");
        }
    }

    #[test]
    fn choices_are_offered_and_quotes_do_not_end_a_text() {
        assert!(
            bash().contains("    --log-level) COMPREPLY=($(compgen -W 'error warn info debug trace' -- \"$word\")) ;;")
        );
        assert!(
            zsh()
                .contains("'--log-level=-[The least important log line to print]:value:(error warn info debug trace)'")
        );
        assert!(fish().contains("-l log-level -x -a 'error warn info debug trace' -d "));
        assert!(zsh().contains("Whether the collector'\\''s own log lines"));
        assert!(fish().contains("Whether the collector\\'s own log lines"));
    }
}
