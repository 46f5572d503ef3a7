//! Jobs in a real guest, whatever the way into it.

use kvmtune::host::transport::{Transport, TransportError};
use std::time::Duration;
use uuid::Uuid;

const LIMIT: Duration = Duration::from_mins(1);

/// What every transport owes: exit codes, bounded outputs, times, and nothing left.
pub(crate) fn run_and_are_stopped(guest: &Transport) {
    let wait = |argv: &[&str], max| {
        let job = guest.start_job(Uuid::now_v7(), argv, max).unwrap();
        guest
            .wait_job(&job, Duration::from_secs(1), Duration::from_mins(1), &|| false)
            .unwrap();
        (guest.collect_job(&job).unwrap(), job)
    };
    let script = "echo \"$1\"; echo err >&2; sleep 1; exit 7";
    let (output, job) = wait(&["/bin/sh", "-c", script, "x", "$(id) 'quoted'"], 1000);
    assert_eq!((output.exit_code, output.truncated), (7, false));
    assert_eq!(
        (&output.stdout[..], &output.stderr[..]),
        (&b"$(id) 'quoted'\n"[..], &b"err\n"[..])
    );
    assert!(output.wall >= Duration::from_millis(980), "{:?}", output.wall);
    assert!(
        !guest.exists(&format!("{}/rc", job.directory())).unwrap(),
        "removed"
    );

    let flood = "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; exit 5";
    let (output, _) = wait(&["/bin/sh", "-c", flood], 1_500_000);
    assert_eq!((output.exit_code, output.truncated), (5, true));
    assert_eq!((output.stdout.len(), output.stderr.len()), (1_500_000, 1_500_000));
    assert_eq!(wait(&["/no/such/program"], 1000).0.exit_code, 127);
    assert_eq!(wait(&["/bin/sh", "-c", "kill -9 $$"], 1000).0.exit_code, 137);
    assert_eq!(wait(&["/bin/sh", "-c", "kill -15 $$"], 1000).0.exit_code, 143);
    let (output, _) = wait(&["/bin/sh", "-c", "sleep 300 & echo left"], 1000);
    assert_eq!((&output.stdout[..], output.exit_code), (&b"left\n"[..], 0));

    // Larger than what an agent or an ssh command takes at once, and nothing of it is taken for more than text.
    let token = Uuid::now_v7();
    let text = "[job]\nfilename=${SCRATCH} `id` 'x' \\\n".repeat(1800);
    guest.put_file(token, "mix.fio", text.as_bytes()).unwrap();
    let show = "cd \"$1\" && ls *.fio && cat mix.fio";
    let directory = format!("/run/kvmtune/{token}");
    let job = guest
        .start_job(token, &["/bin/sh", "-c", show, "x", &directory], 100_000)
        .unwrap();
    guest.wait_job(&job, LIMIT, LIMIT, &|| false).unwrap();
    let output = guest.collect_job(&job).unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("mix.fio\n{text}")
    );

    let token = Uuid::now_v7();
    let job = guest.start_job(token, &["sleep", "300"], 1000).unwrap();
    assert!(
        guest.start_job(token, &["sleep", "1"], 1000).is_err(),
        "a token is used once"
    );
    let session = guest
        .read_file(&format!("/proc/{}/stat", job.pid()), 1000)
        .unwrap();
    let session = String::from_utf8(session).unwrap();
    let ids: Vec<_> = session
        .rsplit_once(") ")
        .unwrap()
        .1
        .split(' ')
        .skip(2)
        .take(2)
        .collect();
    assert_eq!(
        ids,
        [job.pid().to_string(), job.pid().to_string()],
        "a group and session of its own"
    );
    let mode = guest
        .exec(
            &["/bin/sh", "-c", "stat -c %a \"$1\"", "x", job.directory()],
            None,
            LIMIT,
        )
        .unwrap();
    assert_eq!(mode.stdout, b"700\n");
    let stopped = guest.wait_job(&job, LIMIT, LIMIT, &|| true).unwrap_err();
    assert!(matches!(stopped, TransportError::Cancelled { .. }), "{stopped:?}");
    assert!(matches!(
        guest.poll_job(&job),
        Err(TransportError::Vanished { .. })
    ));
    let left = guest
        .exec(
            &[
                "/bin/sh",
                "-c",
                "ls /run/kvmtune; ls -d /run/kvmtune-* 2>/dev/null; true",
            ],
            None,
            LIMIT,
        )
        .unwrap();
    assert_eq!(left.stdout, b"");
}
