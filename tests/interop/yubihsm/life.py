"""The whole life of a key, through Yubico's own client: life.py URL SERIAL [OTHERS].

Run by tests/yubihsm_simulator.rs against the simulator, or against a connector whose device may be erased, which begins it:
the device must have that serial number, and its key 1 the factory's password. OTHERS: how many sessions other programs hold, which
open them again whenever the device has forgotten them. Prints a line for each chapter; any surprise
is an exception.
"""

import os
import sys
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from yubihsm import YubiHsm
from yubihsm.defs import ALGORITHM, AUDIT, CAPABILITY, COMMAND, ERROR, OBJECT, OPTION, ORIGIN
from yubihsm.exceptions import (
    YubiHsmAuthenticationError,
    YubiHsmConnectionError,
    YubiHsmDeviceError,
)
from yubihsm.objects import AsymmetricKey, AuthenticationKey, Opaque, WrapKey

URL, SERIAL = sys.argv[1], int(sys.argv[2])
OTHERS = int(sys.argv[3]) if len(sys.argv) > 3 else 0
ED25519, K256 = ALGORITHM.EC_ED25519, ALGORITHM.EC_K256
ANY_ID = 0


def chapter(text):
    print(text, flush=True)


def refused(code, what, *arguments):
    try:
        what(*arguments)
    except YubiHsmDeviceError as error:
        assert error.code == code, f"{error.code} instead of {code}"
        return
    raise AssertionError(f"{what} was not refused with {code}")


def raw(key):
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def sessions(hsm):
    chapter("sessions")
    try:
        hsm.create_session_derived(1, "not the password")
        raise AssertionError("a wrong password opens a session")
    except YubiHsmAuthenticationError:
        pass
    refused(ERROR.OBJECT_NOT_FOUND, hsm.create_session_derived, 0x7777, "password")
    # The attempt with the wrong password holds its slot until it expires.
    held = [hsm.create_session_derived(1, "password") for _ in range(15 - OTHERS)]
    assert sorted(session.sid for session in held) == list(range(1 + OTHERS, 16))
    refused(ERROR.SESSIONS_FULL, hsm.create_session_derived, 1, "password")
    for session in held[1:]:
        session.close()
    session = held[0]
    assert session.send_secure_cmd(COMMAND.ECHO, b"x" * 1900) == b"x" * 1900
    refused(ERROR.INVALID_COMMAND, session.send_secure_cmd, COMMAND(0x6F), b"")
    assert len(session.get_pseudo_random(1024)) == 1024
    return session


def roles(hsm, admin):
    chapter("authentication keys")
    operator = AuthenticationKey.put_derived(
        admin,
        2,
        "operator",
        1,
        CAPABILITY.GENERATE_ASYMMETRIC_KEY
        | CAPABILITY.PUT_ASYMMETRIC
        | CAPABILITY.PUT_AUTHENTICATION_KEY
        | CAPABILITY.EXPORT_WRAPPED
        | CAPABILITY.IMPORT_WRAPPED,
        CAPABILITY.SIGN_EDDSA | CAPABILITY.SIGN_ECDSA | CAPABILITY.EXPORTABLE_UNDER_WRAP,
        "an operator's password",
    )
    info = operator.get_info()
    assert (info.size, info.label, info.domains) == (40, "operator", 1)
    assert info.delegated_capabilities == (
        CAPABILITY.SIGN_EDDSA | CAPABILITY.SIGN_ECDSA | CAPABILITY.EXPORTABLE_UNDER_WRAP
    )
    AuthenticationKey.put_derived(
        admin,
        4,
        "validator",
        1,
        CAPABILITY.SIGN_EDDSA | CAPABILITY.SIGN_ECDSA,
        CAPABILITY.NONE,
        "a validator's password",
    )
    refused(
        ERROR.OBJECT_EXISTS,
        AuthenticationKey.put_derived,
        admin, 4, "again", 1, CAPABILITY.NONE, CAPABILITY.NONE, "x",
    )
    return (
        hsm.create_session_derived(2, "an operator's password"),
        hsm.create_session_derived(4, "a validator's password"),
    )


def keys(admin, operator, validator):
    chapter("keys and signatures")
    exportable = CAPABILITY.EXPORTABLE_UNDER_WRAP
    consensus = AsymmetricKey.generate(
        operator, 0x0101, "consensus", 1, CAPABILITY.SIGN_EDDSA | exportable, ED25519
    )
    account = AsymmetricKey.generate(
        operator, ANY_ID, "account", 1, CAPABILITY.SIGN_ECDSA | exportable, K256
    )
    info = consensus.get_info()
    assert (info.algorithm, info.origin, info.size) == (ED25519, ORIGIN.GENERATED, 96)
    assert info.capabilities == CAPABILITY.SIGN_EDDSA | exportable

    message = os.urandom(1_000)
    signature = consensus.with_session(validator).sign_eddsa(message)
    consensus.get_public_key().verify(signature, message)
    assert consensus.with_session(validator).sign_eddsa(message) == signature
    try:
        consensus.get_public_key().verify(signature, message + b"x")
        raise AssertionError("any message verifies")
    except InvalidSignature:
        pass
    public = account.get_public_key()
    assert public.curve.name == "secp256k1"
    for _ in range(8):
        signed = account.with_session(validator).sign_ecdsa(message)
        public.verify(signed, message, ec.ECDSA(hashes.SHA256()))

    # RFC 8032, section 7.1, test 3: the imported seed is the key that the standard says.
    seed = bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
    known = AsymmetricKey.put(
        operator, 0x0102, "known", 1, CAPABILITY.SIGN_EDDSA | exportable,
        ed25519.Ed25519PrivateKey.from_private_bytes(seed),
    )
    assert raw(known.get_public_key()).hex() == (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
    )
    assert known.with_session(validator).sign_eddsa(bytes.fromhex("af82")).hex() == (
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )
    assert known.get_info().origin == ORIGIN.IMPORTED

    private = ec.generate_private_key(ec.SECP256K1())
    imported = AsymmetricKey.put(
        operator, 0x0103, "put", 1, CAPABILITY.SIGN_ECDSA | exportable, private
    )
    assert imported.get_public_key().public_numbers() == private.public_key().public_numbers()

    chapter("lists")
    ids = {(o.id, o.object_type) for o in admin.list_objects(object_type=OBJECT.ASYMMETRIC_KEY)}
    assert ids == {(key.id, OBJECT.ASYMMETRIC_KEY) for key in (consensus, account, known, imported)}
    assert [o.id for o in admin.list_objects(label="consensus")] == [0x0101]
    assert [o.id for o in admin.list_objects(object_id=0x0102)] == [0x0102]
    assert {o.id for o in admin.list_objects(algorithm=K256)} == {account.id, imported.id}
    assert len(admin.list_objects(capabilities=CAPABILITY.SIGN_EDDSA)) >= 3
    return consensus, account, known


def refusals(admin, operator, validator, consensus, account):
    chapter("capabilities, delegated capabilities and domains")
    permissions = ERROR.INSUFFICIENT_PERMISSIONS
    # The authentication key has not the capability.
    refused(permissions, consensus.with_session(validator).delete)
    refused(permissions, consensus.with_session(operator).delete)
    refused(permissions, consensus.with_session(operator).sign_eddsa, b"x")
    refused(permissions, validator.get_log_entries)
    refused(permissions, validator.get_pseudo_random, 8)
    refused(permissions, validator.get_force_audit)
    refused(permissions, validator.reset_device)
    refused(permissions, AuthenticationKey(validator, 4).change_password, "another")
    refused(
        permissions,
        AsymmetricKey.generate, validator, ANY_ID, "x", 1, CAPABILITY.SIGN_EDDSA, ED25519,
    )
    # The object has not the capability.
    idle = AsymmetricKey.generate(operator, ANY_ID, "idle", 1, CAPABILITY.NONE, ED25519)
    refused(permissions, idle.with_session(validator).sign_eddsa, b"x")
    # More than the authentication key may hand on, and beyond its domains.
    refused(
        permissions,
        AsymmetricKey.generate, operator, ANY_ID, "x", 1, CAPABILITY.DERIVE_ECDH, ED25519,
    )
    refused(
        permissions,
        AsymmetricKey.generate, operator, ANY_ID, "x", 3, CAPABILITY.SIGN_EDDSA, ED25519,
    )
    refused(
        permissions,
        AuthenticationKey.put_derived,
        operator, ANY_ID, "x", 1, CAPABILITY.DELETE_ASYMMETRIC_KEY, CAPABILITY.NONE, "x",
    )
    # Another domain's objects are not there.
    elsewhere = AsymmetricKey.generate(
        admin, 0x0200, "elsewhere", 2, CAPABILITY.SIGN_EDDSA, ED25519
    )
    refused(ERROR.OBJECT_NOT_FOUND, elsewhere.with_session(validator).sign_eddsa, b"x")
    refused(ERROR.OBJECT_NOT_FOUND, elsewhere.with_session(validator).get_info)
    assert 0x0200 not in {o.id for o in validator.list_objects()}
    assert 0x0200 in {o.id for o in admin.list_objects(domains=2)}
    # The wrong kind of key, and nonsense.
    refused(permissions, consensus.with_session(admin).sign_ecdsa, b"x")
    refused(permissions, account.with_session(admin).sign_eddsa, b"x")
    refused(ERROR.INVALID_DATA, AsymmetricKey.generate, admin, 0, "x", 1, CAPABILITY.NONE, ALGORITHM.HMAC_SHA1)
    refused(ERROR.WRONG_LENGTH, admin.send_secure_cmd, COMMAND.GET_PUBLIC_KEY, b"\0")
    refused(ERROR.WRONG_LENGTH, admin.send_secure_cmd, COMMAND.LIST_OBJECTS, b"\1")
    idle.with_session(admin).delete()
    elsewhere.delete()


def backup(new_firmware, admin, operator, validator, consensus, account, known):
    chapter("export and import under wrap")
    both = CAPABILITY.EXPORT_WRAPPED | CAPABILITY.IMPORT_WRAPPED
    wrap = WrapKey.put(
        admin, 1, "primary", 0xFFFF,
        both | CAPABILITY.WRAP_DATA | CAPABILITY.UNWRAP_DATA,
        ALGORITHM.AES256_CCM_WRAP, CAPABILITY.ALL, bytes(range(32)),
    )
    here = wrap.with_session(operator)
    message = b"the same before and after"
    for key, sign in ((consensus, "sign_eddsa"), (account, "sign_ecdsa"), (known, "sign_eddsa")):
        public = key.with_session(operator).get_public_key()
        before = getattr(key.with_session(validator), sign)(message)
        wrapped = here.export_wrapped(key)
        assert len(wrapped) == 13 + 1 + 58 + 96 + 16, len(wrapped)
        refused(ERROR.OBJECT_EXISTS, here.import_wrapped, wrapped)
        key.with_session(admin).delete()
        refused(ERROR.OBJECT_NOT_FOUND, key.with_session(admin).get_info)
        damaged = wrapped[:-1] + bytes([wrapped[-1] ^ 1])
        refused(ERROR.INVALID_DATA, here.import_wrapped, damaged)
        back = here.import_wrapped(wrapped)
        assert (back.id, back.object_type) == (key.id, OBJECT.ASYMMETRIC_KEY)
        info = back.get_info()
        assert info.origin & ORIGIN.IMPORTED_WRAPPED and info.sequence == 1
        after = getattr(key.with_session(validator), sign)(message)
        if sign == "sign_eddsa":
            assert after == before
            public.verify(after, message)
        else:
            public.verify(after, message, ec.ECDSA(hashes.SHA256()))
    if new_firmware:
        # With the seed, which is 32 bytes more and lives on in such a backup only.
        refused(ERROR.INVALID_DATA, here.export_wrapped, known, True)
        seeded = AsymmetricKey.generate(
            operator, ANY_ID, "seeded", 1, CAPABILITY.EXPORTABLE_UNDER_WRAP, ED25519
        )
        wrapped = here.export_wrapped(seeded, seed=True)
        assert len(wrapped) == len(here.export_wrapped(seeded)) + 32
        seeded.with_session(admin).delete()
        assert len(here.export_wrapped(here.import_wrapped(wrapped), seed=True)) == len(wrapped)
        seeded.with_session(admin).delete()
    else:
        refused(ERROR.WRONG_LENGTH, here.export_wrapped, known, True)

    fixed = AsymmetricKey.generate(operator, ANY_ID, "fixed", 1, CAPABILITY.SIGN_EDDSA, ED25519)
    refused(ERROR.INSUFFICIENT_PERMISSIONS, here.export_wrapped, fixed)
    fixed.with_session(admin).delete()
    narrow = WrapKey.generate(
        admin, 2, "narrow", 1, both, ALGORITHM.AES256_CCM_WRAP,
        CAPABILITY.SIGN_ECDSA | CAPABILITY.EXPORTABLE_UNDER_WRAP,
    )
    refused(ERROR.INSUFFICIENT_PERMISSIONS, narrow.export_wrapped, consensus)
    refused(ERROR.INVALID_DATA, narrow.import_wrapped, here.export_wrapped(account))
    narrow.delete()
    secret = wrap.wrap_data(b"data")
    assert wrap.unwrap_data(secret) == b"data" and len(secret) == 13 + 4 + 16
    refused(ERROR.INSUFFICIENT_PERMISSIONS, here.wrap_data, b"data")
    return wrap


def opaque(admin):
    chapter("opaque objects")
    data = os.urandom(1_500)
    report = Opaque.put(
        admin, 0xFFFE, "report", 0xFFFF, CAPABILITY.NONE, ALGORITHM.OPAQUE_DATA, data
    )
    assert report.get() == data and report.get_info().size == 1_500
    report.delete()
    refused(ERROR.OBJECT_NOT_FOUND, report.get)


def audit(hsm, admin, consensus, validator):
    chapter("options and the audit log")
    assert admin.get_force_audit() == AUDIT.OFF
    assert set(admin.get_command_audit().values()) == {AUDIT.OFF}
    assert admin.get_enabled_algorithms()[ED25519]
    admin.set_command_audit({COMMAND.SIGN_EDDSA: AUDIT.ON, COMMAND.CREATE_SESSION: AUDIT.ON})
    assert admin.get_command_audit()[COMMAND.SIGN_EDDSA] == AUDIT.ON
    signer = consensus.with_session(validator)
    signer.sign_eddsa(b"logged")
    log = admin.get_log_entries()
    last = log.entries[-1]
    assert (last.command, last.length) == (COMMAND.SIGN_EDDSA, 2 + 6)
    assert (last.session_key, last.target_key, last.second_key) == (4, 0x0101, 0xFFFF)
    assert last.result == COMMAND.SIGN_EDDSA | 0x80

    # It is circular: the newest 62 stay, and their chain of digests holds.
    for _ in range(70):
        signer.sign_eddsa(b"logged")
    log = admin.get_log_entries()
    assert len(log.entries) == 62
    assert hsm.get_device_info().log_used == 62
    assert log.entries[-1].number - last.number == 70

    # Force audit: what cannot be logged does not happen, but an auditor can always come in.
    admin.set_log_index(log.entries[-1].number)
    admin.set_force_audit(AUDIT.ON)
    signed = 0
    try:
        while True:
            signer.sign_eddsa(b"logged")
            signed += 1
            assert signed <= 62
    except YubiHsmDeviceError as error:
        assert error.code == ERROR.LOG_FULL, error.code
    refused(ERROR.LOG_FULL, signer.sign_eddsa, b"logged")
    with hsm.create_session_derived(1, "password") as auditor:
        log2 = auditor.get_log_entries()
        assert log2.n_auth == 1
        assert log2.entries[0].number == log.entries[-1].number + 1
        assert log2.entries[0].validate(log.entries[-1])
        auditor.set_log_index(log2.entries[-1].number)
    signer.sign_eddsa(b"logged again")

    admin.set_command_audit({COMMAND.ECHO: AUDIT.FIXED})
    refused(ERROR.INSUFFICIENT_PERMISSIONS, admin.set_command_audit, {COMMAND.ECHO: AUDIT.OFF})
    refused(ERROR.INVALID_DATA, admin.put_option, OPTION.FORCE_AUDIT, b"\7")
    admin.set_force_audit(AUDIT.OFF)


def reconnect():
    """A device takes seconds to come back from a reset."""
    for _ in range(100):
        try:
            return YubiHsm.connect(URL)
        except YubiHsmConnectionError:
            time.sleep(0.1)
    return YubiHsm.connect(URL)


def reset(hsm, admin):
    chapter("reset")
    assert len(admin.list_objects()) > 1
    admin.reset_device()
    hsm = reconnect()
    with hsm.create_session_derived(1, "password") as session:
        assert [(o.id, o.object_type) for o in session.list_objects()] == [
            (1, OBJECT.AUTHENTICATION_KEY)
        ]
        assert session.get_command_audit()[COMMAND.ECHO] == AUDIT.OFF
        # The default key can be replaced by the session that it opened.
        AuthenticationKey(session, 1).change_password("another")
        refused(ERROR.INSUFFICIENT_PERMISSIONS, AuthenticationKey(session, 5).change_password, "x")
    with hsm.create_session_derived(1, "another") as session:
        AuthenticationKey(session, 1).change_password("password")
    with hsm.create_session_derived(1, "password") as session:
        session.set_enabled_algorithms({K256: False})
        refused(
            ERROR.ALGORITHM_DISABLED,
            AsymmetricKey.generate, session, ANY_ID, "x", 1, CAPABILITY.SIGN_ECDSA, K256,
        )
    hsm.close()


def main():
    hsm = YubiHsm.connect(URL)
    info = hsm.get_device_info()
    chapter(f"firmware {'.'.join(map(str, info.version))}, serial {info.serial}")
    assert info.serial == SERIAL, "not the device that may be erased"
    with hsm.create_session_derived(1, "password") as session:
        session.reset_device()
    hsm = reconnect()
    assert info.log_size == 62 and ED25519 in info.supported_algorithms
    admin = sessions(hsm)
    operator, validator = roles(hsm, admin)
    consensus, account, known = keys(admin, operator, validator)
    refusals(admin, operator, validator, consensus, account)
    backup(info.version >= (2, 4, 0), admin, operator, validator, consensus, account, known)
    opaque(admin)
    audit(hsm, admin, consensus, validator)
    operator.close()
    refused(ERROR.INVALID_SESSION, lambda: stale(hsm))
    reset(hsm, admin)
    chapter("the end")


def stale(hsm):
    """A message of a session that the device has closed."""
    session = hsm.create_session_derived(1, "password")
    sid = session.sid
    session.close()
    session._sid, session._key_enc = sid, bytes(16)
    session._key_mac = session._key_rmac = bytes(16)
    session.send_secure_cmd(COMMAND.ECHO)


main()
