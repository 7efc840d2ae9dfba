//! Other programs that reach a YubiHSM2 through the connector server of a running provider: they work, and votes go first.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

#[path = "support/yubihsm_running.rs"]
mod running;
#[path = "support/yubihsm/mod.rs"]
mod simulator;
#[path = "support/yubihsm_target.rs"]
mod target;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use running::{KEY, PATIENCE, Running, Told, admin, eventually, start, with_key};
use simulator::{Simulator, codes::command};
use target::{LONG, config, credentials, http, of};
use tmkms::{
    event::Sink,
    keyring::providers::yubihsm::{
        Config, ConnectorServer, Device, Filter, Hsm, StaticKeys,
        transport::{Transport, http::Http},
    },
    shutdown::Shutdown,
};

#[test]
fn other_programs_reach_the_device_through_us_and_votes_go_first() {
    let simulator = with_key();
    let (config, laddr) = served(&simulator, "password");
    let running = Running::with(&config);
    let through = http("127.0.0.1", laddr.port(), LONG);
    let mut guests: Vec<_> = (0..4)
        .map(|_| Device::open(&through, None, &credentials(1, "password")).unwrap())
        .collect();
    let stop = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        let busy: Vec<_> = guests
            .iter_mut()
            .map(|guest| {
                scope.spawn(|| {
                    let mut count = 0;
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        guest.list_objects(&Filter::default()).unwrap();
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for round in 0..100 {
            let start = Instant::now();
            running.sign(&format!("vote {round}")).unwrap();
            let took = start.elapsed();
            assert!(took < Duration::from_secs(1), "{took:?}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let counts: Vec<i32> = busy
            .into_iter()
            .map(|guest| guest.join().unwrap())
            .collect();
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    });
    // A guest's lost session is its own affair.
    simulator.device().lose_sessions();
    assert!(guests[0].echo(b"?").is_err());
    running.sign("a vote").unwrap();
}

#[test]
fn a_guest_that_takes_our_session_for_its_own_does_not_end_it() {
    let simulator = with_key();
    let (config, laddr) = served(&simulator, "password");
    let running = Running::with(&config);
    running.sign("a vote").unwrap();
    let sessions = || simulator.device().count(command::CREATE_SESSION);
    let before = sessions();
    let mut guest = Http::new("127.0.0.1".into(), laddr.port());
    // Whatever number ours has; and the way into a session that is open.
    for number in 0..16 {
        for (asked, length) in [
            (command::SESSION_MESSAGE, 25),
            (command::AUTHENTICATE_SESSION, 17),
        ] {
            let mut message = vec![asked, 0, length, number];
            message.resize(3 + usize::from(length), 7);
            let answer = guest.exchange(&message, Instant::now() + LONG).unwrap();
            assert_eq!(answer, [0x7f, 0, 1, 0x03], "{number}");
        }
    }
    running.sign("another").unwrap();
    assert_eq!(sessions(), before);
}

#[test]
fn a_guest_that_gets_the_number_of_our_forgotten_session_keeps_its_own() {
    let simulator = with_key();
    let (config, laddr) = served(&simulator, "password");
    let running = Running::with(&config);
    running.sign("a vote").unwrap();
    simulator.device().lose_sessions();
    let through = http("127.0.0.1", laddr.port(), LONG);
    let mut guest = Device::open(&through, None, &credentials(1, "password")).unwrap();
    running.sign("another").unwrap();
    assert_eq!(guest.echo(b"still here").unwrap(), b"still here");
    assert_eq!(simulator.device().open_sessions(), 2);
}

#[test]
fn yubicos_own_client_takes_a_key_through_its_life_through_us() {
    let python = match support::python::environment("tests/interop/yubihsm/requirements.txt") {
        Ok(python) => python,
        Err(why) => return support::skip("Yubico's Python client", &why),
    };
    let simulator = with_key();
    let (config, laddr) = served(&simulator, "password");
    let running = Running::with(&config);
    running.sign("a vote").unwrap();
    let (url, serial) = (format!("http://{laddr}"), simulator.serial());
    let life = "tests/interop/yubihsm/life.py";
    // One session is ours, also after the reset that the script begins with.
    let output = support::python::run_script(&python, life, &[&url, &serial, "1"]);
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(said.ends_with("the end\n"), "{said}\n{failed}");
    // The device is the same, and its key is gone: that is a final answer once our session is open again.
    eventually("a session again", || {
        let error = running.sign("another").unwrap_err();
        error.to_string().contains("object not found")
    });
}

#[test]
fn the_crates_client_reaches_the_device_through_us() {
    let simulator = with_key();
    let (config, laddr) = served(&simulator, "password");
    let running = Running::with(&config);
    let connector = yubihsm::Connector::http(&yubihsm::HttpConfig {
        addr: laddr.ip().to_string(),
        port: laddr.port(),
        ..yubihsm::HttpConfig::default()
    });
    let credentials = yubihsm::Credentials::default();
    let client = yubihsm::Client::open(connector, credentials, false).unwrap();
    let theirs = client.sign_ed25519(KEY, b"a vote".as_slice()).unwrap();
    let ours = admin(&simulator).sign_eddsa(KEY, b"a vote").unwrap();
    assert_eq!(theirs.to_bytes(), ours);
    running.sign("a vote").unwrap();
}

#[test]
fn guests_can_put_right_what_keeps_us_out() {
    let simulator = with_key();
    let (config, laddr) = served(&simulator, "another password");
    let (hsm, _told, shutdown) = start(&config);
    assert!(hsm.key(KEY, PATIENCE).is_err());
    let through = http("127.0.0.1", laddr.port(), LONG);
    let mut guest = Device::open(&through, None, &credentials(1, "password")).unwrap();
    let keys = StaticKeys::from_password(&target::password("another password"));
    guest.change_authentication_key(1, &keys).unwrap();
    eventually("it is let in", || {
        hsm.key(KEY, Duration::from_secs(1)).is_ok()
    });
    shutdown.request();
}

#[test]
fn an_address_that_is_taken_is_an_error_of_the_start() {
    let simulator = with_key();
    let (mut config, _) = served(&simulator, "password");
    let laddr = simulator.addr();
    config.connector_server = Some(ConnectorServer { laddr, cli: None });
    let sink: Arc<dyn Sink> = Arc::new(Told::default());
    let error = Hsm::start(&config, &sink, &Shutdown::new()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&format!("cannot listen on {laddr}")),
        "{text}"
    );
    assert!(
        error.hint().unwrap().contains("connector_server"),
        "{error}"
    );
}

/// A provider that lets others reach the device, and the address where they do.
fn served(simulator: &Simulator, password: &str) -> (Config, SocketAddr) {
    let mut config = config(of(simulator, LONG), 1, password);
    let laddr = free_address();
    config.connector_server = Some(ConnectorServer { laddr, cli: None });
    (config, laddr)
}

/// A port that nobody had a moment ago: the provider does not tell which one it was given.
fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}
