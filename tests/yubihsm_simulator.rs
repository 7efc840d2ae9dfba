//! The YubiHSM2 simulator of `tests/support/yubihsm`, proved by clients that we did not write.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends by panicking"
)]

#[path = "support/yubihsm/mod.rs"]
mod simulator;

use simulator::{Options, Simulator};
use yubihsm::{
    Capability, Client, Connector, Credentials, Domain, HttpConfig, asymmetric, object, wrap,
};

fn client(hsm: &Simulator) -> Client {
    let config = HttpConfig {
        addr: hsm.addr().ip().to_string(),
        port: hsm.addr().port(),
        ..HttpConfig::default()
    };
    Client::open(Connector::http(&config), Credentials::default(), false).unwrap()
}

fn generate(client: &Client, id: u16, capability: Capability, algorithm: asymmetric::Algorithm) {
    let label = object::Label::from_bytes(b"a key").unwrap();
    let capabilities = capability | Capability::EXPORTABLE_UNDER_WRAP;
    let made = client.generate_asymmetric_key(id, label, Domain::DOM1, capabilities, algorithm);
    assert_eq!(made.unwrap(), id);
}

#[test]
fn the_crates_client_takes_a_key_through_its_life() {
    let hsm = Simulator::start(Options::default());
    let client = client(&hsm);
    assert_eq!(
        client.device_info().unwrap().serial_number.to_string(),
        hsm.serial()
    );

    generate(
        &client,
        7,
        Capability::SIGN_EDDSA,
        asymmetric::Algorithm::Ed25519,
    );
    let public = client.get_public_key(7).unwrap();
    let public: [u8; 32] = public.as_ref().try_into().unwrap();
    let signature = client.sign_ed25519(7, b"a vote".as_slice()).unwrap();
    let verifying = ed25519_dalek::VerifyingKey::from_bytes(&public).unwrap();
    let signature = ed25519_dalek::Signature::from_bytes(&signature.to_bytes());
    verifying.verify_strict(b"a vote", &signature).unwrap();

    client
        .put_wrap_key(
            1,
            object::Label::from_bytes(b"wrap").unwrap(),
            Domain::all(),
            Capability::EXPORT_WRAPPED | Capability::IMPORT_WRAPPED,
            Capability::all(),
            wrap::Algorithm::Aes256Ccm,
            vec![7; 32],
        )
        .unwrap();
    let backup = client
        .export_wrapped(1, object::Type::AsymmetricKey, 7)
        .unwrap();
    client
        .delete_object(7, object::Type::AsymmetricKey)
        .unwrap();
    assert!(
        client
            .get_object_info(7, object::Type::AsymmetricKey)
            .is_err()
    );
    let back = client.import_wrapped(1, backup).unwrap();
    assert_eq!(
        (back.object_type, back.object_id),
        (object::Type::AsymmetricKey, 7)
    );
    let again = client.sign_ed25519(7, b"a vote".as_slice()).unwrap();
    assert_eq!(again.to_bytes(), signature.to_bytes());

    let listed = client.list_objects(&[]).unwrap();
    let ids: Vec<u16> = listed.iter().map(|entry| entry.object_id).collect();
    assert_eq!(ids, [1, 1, 7]);
}
