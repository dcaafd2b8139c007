//! Completions, manual pages and colour.

use std::process::{Command, Output};

fn syncline(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_syncline")).args(args).output().expect("the command starts")
}

#[test]
fn completions_name_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = syncline(&["completions", shell]);
        let script = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success());
        for command in ["run", "sweep", "compare", "scenarios", "verify", "inspect"] {
            assert!(script.contains(command), "{shell} lacks {command}");
        }
    }
    assert_eq!(syncline(&["completions", "dos"]).status.code(), Some(2));
}

#[test]
fn every_command_has_a_manual_page() {
    let page = String::from_utf8(syncline(&["man"]).stdout).unwrap();
    assert!(page.contains(".TH") && page.contains("Exit codes"), "{page}");
    let folder = std::env::temp_dir().join(format!("syncline-man-{}", std::process::id()));
    let output = syncline(&["man", "--to", folder.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    for page in ["syncline.1", "syncline-run.1", "syncline-sweep.1", "syncline-compare.1"] {
        assert!(folder.join(page).is_file(), "{page}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn pipes_get_no_colour_by_default() {
    let coloured = |when: &str| syncline(&["run", "--seed", "1", "--color", when]).stdout.contains(&0x1b);
    assert_eq!(["always", "never", "auto"].map(coloured), [true, false, false]);
}
