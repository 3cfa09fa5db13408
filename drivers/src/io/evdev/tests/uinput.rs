//! The same with a keyboard that the kernel makes, on machines where one may be made.

use ::evdev::uinput::VirtualDevice;
use ::evdev::{AttributeSet, InputEvent, KeyEvent};

use super::*;

/// A pedal of the kernel's, where this user may make one.
fn keyboard(keys: &[KeyCode]) -> std::io::Result<(VirtualDevice, PathBuf)> {
    let keys: AttributeSet<KeyCode> = keys.iter().copied().collect();
    let mut device = VirtualDevice::builder()?.name("turnstage test keyboard").with_keys(&keys)?.build()?;
    let node = device.enumerate_dev_nodes_blocking()?.next().transpose()?;
    let node = node.ok_or_else(|| std::io::Error::other("it has no node"))?;
    open_node(&node)?;
    Ok((device, node))
}

fn stroke(device: &mut VirtualDevice, key: KeyCode) {
    let events: [InputEvent; 2] = [*KeyEvent::new(key, 1), *KeyEvent::new(key, 0)];
    events.iter().for_each(|event| device.emit(std::slice::from_ref(event)).unwrap());
}

#[tokio::test]
async fn two_inputs_hear_their_keys_of_one_pedal_until_it_is_unplugged() {
    let keys = |key: &str| format!("keys = [\"{key}\"]");
    let Ok((mut pedal, node)) = keyboard(&[KeyCode::KEY_A, KeyCode::KEY_B]) else {
        // Most machines that build make no keyboards: then on what such a pedal would have told.
        for key in ["KEY_A", "KEY_B"] {
            let mut input = Typist::new(&format!("serial = \"1\"\n{}", keys(key)));
            input.strokes(&[KeyCode::KEY_B, KeyCode::KEY_A]);
            assert_eq!(input.told, [Signal::Pressed, Signal::Released], "{key}");
        }
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("pedal");
    std::os::unix::fs::symlink(node, &link).unwrap();
    let linked = |more: &str| options(&format!("device = \"{}\"\n{more}", link.display()));
    let around = Surroundings::default();
    let mut left = open("left", &linked(&keys("KEY_A")), &around).await.unwrap();
    let mut right = open("right", &linked(&keys("KEY_B")), &around).await.unwrap();
    assert_eq!(left.next().await.unwrap(), Signal::Released);
    assert_eq!(right.next().await.unwrap(), Signal::Released);
    stroke(&mut pedal, KeyCode::KEY_B);
    stroke(&mut pedal, KeyCode::KEY_A);
    assert_eq!(left.next().await.unwrap(), Signal::Pressed);
    assert_eq!(left.next().await.unwrap(), Signal::Released);
    assert_eq!(right.next().await.unwrap(), Signal::Pressed);
    // Grabbed: a station of another process does not hear it as well.
    let busy = open("other", &linked(""), &Surroundings::default()).await.err().unwrap();
    assert!(busy.to_string().contains("grabbed"), "{busy}");
    drop(pedal);
    assert_eq!(right.next().await.unwrap(), Signal::Released);
    assert!(matches!(left.next().await, Err(IoError::Lost { .. })));
}
