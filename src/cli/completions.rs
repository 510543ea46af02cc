//! Completions for bash, zsh and fish, from the same rows as the help. Pure.

use super::command::{COMMANDS, Command, EVERY, READS_SETTINGS};
use super::flags;
use crate::settings::schema::{Row, ValueKind};

/// Completions for bash, for a file in `/usr/share/bash-completion/completions`.
pub fn bash() -> String {
    let commands: Vec<&str> = COMMANDS.iter().map(|command| command.1).collect();
    let commands = commands.join(" ");
    let (mut words, mut files, mut settings) = (String::new(), Vec::new(), Vec::new());
    // The flags that are no settings, by the commands that take them.
    let mut own: Vec<(&[Command], Vec<String>)> = Vec::new();
    for (flag, row) in rows() {
        let offered = if row.takes == ValueKind::Nothing { flag.clone() } else { format!("{flag}=") };
        let of = takers(row);
        match own.iter_mut().find(|(commands, _)| *commands == of) {
            _ if of == READS_SETTINGS => settings.push(offered),
            Some((_, flags)) => flags.push(offered),
            None => own.push((of, vec![offered])),
        }
        match row.takes {
            ValueKind::Choice(choice) => {
                let choice = choice.replace('|', " ");
                words += &format!("    {flag}) COMPREPLY=($(compgen -W '{choice}' -- \"$word\")) ;;\n");
            }
            _ if is_path(row) => files.push(flag),
            _ => {}
        }
    }
    let (mut cases, mut everywhere) = (String::new(), String::new());
    for (of, flags) in own {
        let flags = flags.join(" ");
        if of == EVERY {
            everywhere = flags;
            continue;
        }
        // Without a command it is run.
        let names: Vec<_> = of.iter().map(|command| command.name()).collect();
        let default = if of.contains(&Command::Run) { " | ''" } else { "" };
        // Another line may name the command too, so the search goes on.
        cases += &format!("        {}{default}) flags+=' {flags}' ;;&\n", names.join(" | "));
    }
    let settings = settings.join(" ");
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
         \x20   {files})\n\
         \x20       compopt -o filenames\n\
         \x20       mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n\
         \x20       ;;\n\
         \x20   ?*) COMPREPLY=() ;;\n\
         \x20   *)\n\
         \x20       local at command= flags='{everywhere}'\n\
         \x20       for ((at = 1; at < COMP_CWORD; at++)); do\n\
         \x20           case ${{COMP_WORDS[at]}} in\n\
         \x20           {commands_or}) command=${{COMP_WORDS[at]}} && break ;;\n\
         \x20           esac\n\
         \x20       done\n\
         \x20       case $command in\n\
         \x20       help | version) ;;\n\
         \x20       *) flags+=' {settings}' ;;\n\
         \x20       esac\n\
         \x20       case $command in\n\
         {cases}\
         \x20       esac\n\
         \x20       # A command stands alone, or behind help.\n\
         \x20       case $command in\n\
         \x20       '' | help) flags+=' {commands}' ;;\n\
         \x20       esac\n\
         \x20       COMPREPLY=($(compgen -W \"$flags\" -- \"$word\"))\n\
         \x20       if [[ ${{COMPREPLY-}} == *= ]]; then compopt -o nospace; fi\n\
         \x20       ;;\n\
         \x20   esac\n\
         }}\n\
         complete -F _otelet otelet\n",
        files = files.join(" | "),
        commands_or = commands.replace(' ', " | "),
    )
}

/// Completions for zsh, for a file in a directory of `fpath`.
pub fn zsh() -> String {
    // Flags that another command has are not offered behind one, nor that one behind them.
    let mut text = "#compdef otelet\n# Completion of otelet for zsh.\nlocal command=${words[(r)(".to_owned();
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.1).collect();
    text += &format!("{})]}}\nlocal -a flags\n", names.join("|"));
    text += "flags=(\n";
    let mut others = String::new();
    for (flag, row) in rows() {
        let (value, action) = match row.takes {
            ValueKind::Nothing => (String::new(), String::new()),
            ValueKind::Choice(choice) => ("=-".to_owned(), format!(":value:({})", choice.replace('|', " "))),
            _ if is_path(row) => ("=-".to_owned(), ":file:_files".to_owned()),
            _ => ("=-".to_owned(), format!(":{}:", row.value().replace(':', "\\:"))),
        };
        let help = first_sentence(row).replace('[', "\\[").replace(']', "\\]").replace(':', "\\:");
        let spec = quoted(&format!("{flag}{value}[{help}]{action}"));
        match takers(row) {
            of if of == EVERY => text += &format!("    {spec}\n"),
            of => {
                let names: Vec<_> = of.iter().map(|command| command.name()).collect();
                let default = if of.contains(&Command::Run) { "|" } else { "" };
                others += &format!("[[ $command == ({}{default}) ]] && flags+=({spec})\n", names.join("|"));
            }
        }
    }
    text += &format!(")\n{others}_arguments \\\n    $flags \\\n");
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
    let (mut own, mut all) = (String::new(), String::new());
    text += "complete -c otelet -n '__fish_seen_subcommand_from help' -a '";
    text += &COMMANDS.iter().map(|command| command.1).collect::<Vec<_>>().join(" ");
    text += "'\n";
    for (flag, row) in rows() {
        let name = flag.trim_start_matches("--");
        let value = match row.takes {
            ValueKind::Nothing => String::new(),
            ValueKind::Choice(choice) => format!(" -x -a {}", quoted_for_fish(&choice.replace('|', " "))),
            _ if is_path(row) => " -r -F".to_owned(),
            _ => " -x".to_owned(),
        };
        let about = quoted_for_fish(first_sentence(row));
        let of = takers(row);
        if of == EVERY {
            all += &format!("complete -c otelet -l {name}{value} -d {about}\n");
            continue;
        }
        let names: Vec<_> = of.iter().map(|command| command.name()).collect();
        let default = if of.contains(&Command::Run) { "__fish_use_subcommand; or " } else { "" };
        own += &format!(
            "complete -c otelet -n '{default}__fish_seen_subcommand_from {}' -l {name}{value} -d {about}\n",
            names.join(" ")
        );
    }
    text + &own + &all
}

/// The rows that have a flag, with that flag.
fn rows() -> impl Iterator<Item = (String, &'static Row)> {
    flags::rows().filter_map(|row| Some((row.flag()?, row)))
}

/// The commands that take this flag.
fn takers(row: &'static Row) -> &'static [Command] {
    flags::flags().find(|flag| std::ptr::eq(&flag.row, row)).map_or(READS_SETTINGS, |flag| flag.commands)
}

/// Whether its value is a path, or may be one.
fn is_path(row: &Row) -> bool {
    row.takes == ValueKind::Text("PATH") || row.key == "config.url"
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
    fn a_command_is_offered_its_own_flags() {
        assert!(bash().contains("        rollback) flags+=' --clear --clear-signed' ;;&\n"), "{}", bash());
        assert!(bash().contains("        run | '') flags+=' --log-file=' ;;&\n"));
        assert!(zsh().contains("[[ $command == (status) ]] && flags+=('--watch["));
        assert!(zsh().contains("[[ $command == (run|) ]] && flags+=('--log-file=-["));
        assert!(fish().contains("-n '__fish_seen_subcommand_from status' -l watch -d "));
        assert!(
            fish().contains("-n '__fish_use_subcommand; or __fish_seen_subcommand_from run' -l log-file -r -F -d ")
        );
    }

    #[test]
    fn the_url_of_configs_may_be_a_path() {
        assert!(bash().contains("--settings | --config-url | "), "{}", bash());
        assert!(zsh().contains(
            "]:file:_files')\n[[ $command == (run|validate|status|rollback|doctor|diagnose|) ]] && flags+=('--config-protocol"
        ));
        assert!(fish().contains("-l config-url -r -F -d "));
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
