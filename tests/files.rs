//! Every bad file in `tests/bad` is answered with the text beside it (`INSTA_UPDATE=always` writes the texts), and
//! every file that is shipped or shown in the documentation is right.

use kvmtune::design::{Pace, Part, Plan};
use kvmtune::diagnostic::{Diagnostics, Source};
use kvmtune::facts::NetworkFacts;
use kvmtune::simulation::{self, Machine, Model};
use kvmtune::workload::Library;
use kvmtune::{experiment, workload};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

type Failure = Box<dyn std::error::Error>;

fn toml_files(folder: &str) -> Result<Vec<PathBuf>, Failure> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Source, Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(Source::from_bytes(name, &fs::read(path)?)?)
}

/// What the models in `tests/bad` are for.
const MODELLED: &str = "
[[factor]]
tunable = \"domain.disk.io\"
levels = [\"threads\", \"native\"]
[[factor]]
tunable = \"guest.swappiness\"
levels = [10]
baseline = 30
[workload]
use = \"fio-randread-4k\"
";

/// The model in `source` for the experiment in `of`.
fn model(source: &Source, of: &Source) -> Result<Model, Diagnostics> {
    let experiment = experiment::parse(of, &Library::builtin())?;
    simulation::parse(source, &experiment, &Machine::of(&experiment).facts)
}

#[test]
fn every_bad_file_is_answered_as_before() -> Result<(), Failure> {
    let library = Library::builtin();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("bad");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let files = toml_files("tests/bad")?;
    assert!(files.len() >= 20, "{} bad files", files.len());
    for path in files {
        let source = read(&path)?;
        let name = source.name.trim_end_matches(".toml").to_string();
        let error = if name.starts_with("workload-file") {
            workload::parse(&source).err()
        } else if name.starts_with("model") {
            model(
                &source,
                &Source::from_bytes("modelled.toml", MODELLED.as_bytes())?,
            )
            .err()
        } else {
            experiment::parse(&source, &library).err()
        };
        let text = error.ok_or(format!("{name} has no mistake"))?.render(false);
        assert!(!text.contains(['\u{1b}', '\0']), "{name} can drive a terminal");
        settings.bind(|| insta::assert_snapshot!(name, text));
    }
    Ok(())
}

#[test]
fn every_shipped_experiment_is_right() -> Result<(), Failure> {
    let library = Library::builtin();
    let files = toml_files("experiments")?;
    assert!(files.len() >= 6, "{} experiments", files.len());
    for path in files {
        let experiment = experiment::parse(&read(&path)?, &library)?;
        assert!(experiment.question.is_some(), "{} asks nothing", experiment.name);
    }
    Ok(())
}

#[test]
fn every_shipped_experiment_can_be_planned() -> Result<(), Failure> {
    let pace = Pace {
        boot: Duration::ZERO,
        overhead: Duration::ZERO,
    };
    for path in toml_files("experiments")? {
        let experiment = experiment::parse(&read(&path)?, &Library::builtin())?;
        let mut facts = Machine::of(&experiment).facts;
        facts.network = Some(NetworkFacts {
            bandwidth: 1_000_000_000,
            rtt: 1000,
            link_speed: None,
        });
        let plan = Plan::new(&experiment, &facts, Part::Whole, pace, 1)
            .map_err(|e| format!("{}: {e}", path.display()))?;
        let lost = plan
            .notices
            .iter()
            .filter(|notice| notice.starts_with("left out"));
        assert_eq!(
            lost.collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "{}",
            path.display()
        );
    }
    Ok(())
}

#[test]
fn every_shipped_model_is_right_for_the_experiment_of_its_name() -> Result<(), Failure> {
    let files = toml_files("experiments/models")?;
    assert!(files.len() >= 2, "{} models", files.len());
    for path in files {
        let of = path.parent().and_then(Path::parent).ok_or("no folder")?;
        let of = of.join(path.file_name().ok_or("no name")?);
        model(&read(&path)?, &read(&of)?)?;
    }
    Ok(())
}

#[test]
fn the_examples_of_the_documentation_are_right() -> Result<(), Failure> {
    let library = Library::builtin();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/FORMAT.md"))?;
    let examples: Vec<_> = text
        .split("```toml\n")
        .skip(1)
        .filter_map(|tail| tail.split_once("```"))
        .collect();
    assert!(examples.len() >= 8, "{}", examples.len());
    let smallest = examples[0].0;
    for (example, _) in &examples {
        let example = if example.contains("[[treatment]]") && !example.contains("[workload]") {
            format!("{example}\n[workload]\nuse = \"fio-randread-4k\"\n[design]\nkind = \"a-b\"")
        } else if example.contains("[[derived]]")
            || ["[guest]", "[[neighbour]]", "[path]"]
                .iter()
                .any(|table| example.starts_with(table))
        {
            format!("{smallest}\n{example}")
        } else {
            (*example).to_string()
        };
        let source = Source::from_bytes("example.toml", example.as_bytes())?;
        if example.contains("argv") {
            workload::parse(&source)?;
        } else if example.contains("[[effect]]") {
            model(&source, &read(&root.join("experiments/quickstart.toml"))?)?;
        } else {
            experiment::parse(&source, &library)?;
        }
    }
    Ok(())
}

#[test]
fn the_page_of_tunables_is_that_of_the_catalogue() -> Result<(), Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/TUNABLES.md"))?;
    let now = kvmtune::report::tunables_page(kvmtune::tunable::catalogue());
    assert_eq!(page, now, "kvmtune tunables --markdown > docs/TUNABLES.md");
    Ok(())
}

#[test]
fn what_is_told_of_a_tunable_tells_the_danger_for_which_it_is_refused() -> Result<(), Failure> {
    let named = [
        "boot:quiet",
        "sysctl:kernel.pid_max",
        "sysfs:/sys/class/net/eth0/mtu",
    ];
    let named = named
        .map(kvmtune::tunable::lookup)
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    for tunable in kvmtune::tunable::catalogue().iter().chain(&named) {
        let told = kvmtune::report::tunable(&(tunable, None), 200);
        let dangerous = kvmtune::tunable::hazard(tunable, "", false).is_some() || !tunable.hazards.is_empty();
        assert_eq!(told.contains("danger: "), dangerous, "{told}");
    }
    assert!(
        named
            .iter()
            .all(|t| kvmtune::tunable::hazard(t, "", false).is_some())
    );
    Ok(())
}
