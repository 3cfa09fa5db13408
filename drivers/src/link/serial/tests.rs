//! The serial link on pseudo-terminals, and the listing on a folder that looks like `/sys`.

use std::fs;
use std::os::unix::fs::symlink;

use tokio_serial::SerialStream;

use super::*;

const LIMIT: Duration = Duration::from_secs(5);
/// Time in which nothing comes.
const MOMENT: Duration = Duration::from_millis(1);

/// A cable with a device at its other end; the by-id path points at the port of the moment.
struct Cable {
    folder: tempfile::TempDir,
    device: Option<SerialStream>,
}

impl Cable {
    fn new() -> Self {
        let mut cable = Self { folder: tempfile::tempdir().unwrap(), device: None };
        cable.plug();
        cable
    }

    fn path(&self) -> String {
        self.folder.path().join("usb-adapter").to_string_lossy().into_owned()
    }

    fn plug(&mut self) {
        let (device, port) = SerialStream::pair().unwrap();
        let node = port.name().unwrap();
        drop(port);
        drop(fs::remove_file(self.path()));
        symlink(node, self.path()).unwrap();
        self.device = Some(device);
    }

    fn device(&mut self) -> &mut SerialStream {
        self.device.as_mut().unwrap()
    }

    async fn open(&self) -> Result<Serial, LinkError> {
        Serial::open(&self.path(), 115_200, false, Duration::ZERO).await
    }
}

#[tokio::test]
async fn bytes_go_there_and_back_each_within_a_limit() {
    let mut cable = Cable::new();
    let mut link = cable.open().await.unwrap();
    link.send(b"CT();", LIMIT).await.unwrap();
    let mut heard = [0; 5];
    cable.device().read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"CT();");
    cable.device().write_all(b"CR+OK;").await.unwrap();
    let mut into = Vec::new();
    while into.len() < 6 {
        link.receive(&mut into, LIMIT).await.unwrap();
    }
    assert_eq!(into, b"CR+OK;");
    let silent = link.receive(&mut into, MOMENT).await;
    assert!(matches!(silent, Err(LinkError::Silent { .. })), "{silent:?}");
}

#[tokio::test]
async fn a_hang_up_is_a_lost_link_whether_one_reads_or_writes() {
    let mut cable = Cable::new();
    let mut link = cable.open().await.unwrap();
    cable.device = None;
    let mut into = Vec::new();
    for _ in 0..2 {
        let lost = link.receive(&mut into, LIMIT).await;
        assert!(matches!(lost, Err(LinkError::Lost { .. })), "{lost:?}");
    }
    let lost = link.send(b"?", LIMIT).await;
    assert!(matches!(lost, Err(LinkError::Lost { .. })), "{lost:?}");
}

#[tokio::test]
async fn a_device_that_takes_nothing_is_a_lost_link_within_the_limit() {
    let mut cable = Cable::new();
    let mut link = cable.open().await.unwrap();
    let flood = vec![b'x'; 1 << 20];
    let lost = link.send(&flood, Duration::from_millis(50)).await;
    assert!(matches!(lost, Err(LinkError::Lost { .. })), "{lost:?}");
    // Closing does not wait for it either: what lies on the way is gone, but for what is at the far end.
    drop(link);
    let mut piece = vec![0; 1 << 16];
    let mut taken = 0;
    while let Ok(Ok(count @ 1..)) = timeout(MOMENT, cable.device().read(&mut piece)).await {
        taken += count;
    }
    assert!(taken <= 4096, "{taken} bytes were still on their way");
}

#[tokio::test]
async fn the_same_path_opens_the_device_that_came_back_under_another_number() {
    let mut cable = Cable::new();
    let first = cable.open().await.unwrap();
    let kept = cable.device.take();
    let before = fs::read_link(cable.path()).unwrap();
    cable.plug();
    assert_ne!(before, fs::read_link(cable.path()).unwrap());
    let mut second = cable.open().await.unwrap();
    second.send(b"?", LIMIT).await.unwrap();
    let mut heard = [0; 1];
    cable.device().read_exact(&mut heard).await.unwrap();
    drop((first, kept));
}

#[tokio::test]
async fn what_a_board_says_at_start_up_is_thrown_away() {
    let mut cable = Cable::new();
    cable.device().write_all(b"\xfe\xffCR+ERR=31;").await.unwrap();
    let mut link = Serial::open(&cable.path(), 115_200, false, Duration::from_millis(20)).await.unwrap();
    let silent = link.receive(&mut Vec::new(), MOMENT).await;
    assert!(matches!(silent, Err(LinkError::Silent { .. })), "{silent:?}");
}

#[tokio::test]
async fn a_port_that_is_not_there_says_so_and_where_to_look() {
    let error = Serial::open("/dev/serial/by-id/usb-none", 9600, true, Duration::ZERO).await.unwrap_err();
    let told = error.to_string();
    assert!(told.contains("usb-none: not there") && told.contains("turnstage devices"), "{told}");
}

#[tokio::test]
async fn a_port_that_is_open_already_is_not_opened_a_second_time() {
    let cable = Cable::new();
    let held = cable.open().await.unwrap();
    let second = cable.open().await;
    assert!(matches!(second, Err(LinkError::Unavailable { .. })), "{second:?}");
    drop(held);
}

#[tokio::test]
async fn a_port_that_another_program_holds_says_which_by_name_and_number() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let cable = Cable::new();
    let script = "exec 9<>\"$0\"; flock -n 9 || exit 1; echo held; read -r end";
    let mut other = Command::new("bash");
    other.args(["-c", script]).arg(cable.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut other = other.spawn().unwrap();
    let mut told = String::new();
    BufReader::new(other.stdout.as_mut().unwrap()).read_line(&mut told).unwrap();
    assert_eq!(told.trim(), "held", "this test needs flock");
    let error = cable.open().await.unwrap_err().to_string();
    let holder = format!("held by bash (pid {}) (end that program;", other.id());
    assert!(error.contains(&holder), "{error}");
    drop(other.stdin.take());
    other.wait().unwrap();
    cable.open().await.unwrap();
}

#[test]
fn a_port_that_is_not_for_us_names_its_group_or_the_rule_that_gives_it_one() {
    let told = |group| permission(Path::new("/dev/ttyUSB12"), group);
    assert!(told(Some("dialout")).contains("usermod -aG dialout turnstage"));
    for nobodys in [told(Some("root")), told(None)] {
        let rule = "70-turnstage.rules, SUBSYSTEM==\"tty\", KERNEL==\"ttyUSB*\", GROUP=\"dialout\"";
        assert!(nobodys.contains(rule), "{nobodys}");
    }
}

/// A folder like `/sys` and `/dev` with one adapter on USB and one port on the board.
fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    fs::create_dir_all(at("sys/devices/usb1/1-2/1-2:1.0/ttyUSB0")).unwrap();
    fs::create_dir_all(at("sys/devices/platform/serial")).unwrap();
    for (name, value) in [("idVendor", "1a86\n"), ("idProduct", "7523\n"), ("product", "USB Serial\n")] {
        fs::write(at("sys/devices/usb1/1-2").join(name), value).unwrap();
    }
    for (tty, device) in [("ttyUSB0", "usb1/1-2/1-2:1.0/ttyUSB0"), ("ttyS0", "platform/serial")] {
        fs::create_dir_all(at("sys/class/tty").join(tty)).unwrap();
        symlink(at("sys/devices").join(device), at("sys/class/tty").join(tty).join("device")).unwrap();
    }
    fs::create_dir_all(at("dev/serial/by-id")).unwrap();
    fs::write(at("dev/ttyUSB0"), "").unwrap();
    symlink(at("dev/ttyUSB0"), at("dev/serial/by-id/usb-1a86_USB_Serial-if00-port0")).unwrap();
    root
}

#[test]
fn ports_on_usb_are_listed_by_their_stable_names() {
    let root = tree();
    let found = ports_in(&root.path().join("sys"), &root.path().join("dev"));
    let [port] = &found[..] else { panic!("{found:?}") };
    assert!(port.path.ends_with("dev/serial/by-id/usb-1a86_USB_Serial-if00-port0"), "{port:?}");
    assert_eq!((port.usb.as_str(), port.product.as_str()), ("1a86:7523", "USB Serial"));
    assert_eq!((port.serial.as_deref(), port.problem.as_deref()), (None, None));
}

#[test]
fn two_adapters_of_one_name_are_told_apart_by_their_sockets() {
    let root = tree();
    let at = |path: &str| root.path().join(path);
    let (sys, dev) = (at("sys"), at("dev"));
    let by_id = at("dev/serial/by-id/usb-1a86_USB_Serial-if00-port0");
    let path = by_id.to_string_lossy().into_owned();
    assert_eq!(ambiguous(&sys, &dev, &path, &at("dev/ttyUSB0")), None);
    // The same chip once more: udev lets the name point to the last one.
    fs::create_dir_all(at("sys/devices/usb1/1-3/1-3:1.0/ttyUSB1")).unwrap();
    for (name, value) in [("idVendor", "1a86\n"), ("idProduct", "7523\n"), ("product", "USB Serial\n")] {
        fs::write(at("sys/devices/usb1/1-3").join(name), value).unwrap();
    }
    fs::create_dir_all(at("sys/class/tty/ttyUSB1")).unwrap();
    symlink(at("sys/devices/usb1/1-3/1-3:1.0/ttyUSB1"), at("sys/class/tty/ttyUSB1/device")).unwrap();
    fs::write(at("dev/ttyUSB1"), "").unwrap();
    fs::remove_file(&by_id).unwrap();
    symlink(at("dev/ttyUSB1"), &by_id).unwrap();
    fs::create_dir_all(at("dev/serial/by-path")).unwrap();
    for (node, socket) in [("ttyUSB0", "usb-0:2:1.0-port0"), ("ttyUSB1", "usb-0:3:1.0-port0")] {
        symlink(at("dev").join(node), at("dev/serial/by-path").join(socket)).unwrap();
    }
    let found: Vec<String> = ports_in(&sys, &dev).into_iter().map(|port| port.path).collect();
    let socket = |name: &str| at("dev/serial/by-path").join(name).to_string_lossy().into_owned();
    assert_eq!(found, [socket("usb-0:2:1.0-port0"), socket("usb-0:3:1.0-port0")]);
    let (why, hint) = ambiguous(&sys, &dev, &path, &at("dev/ttyUSB1")).unwrap();
    assert!(why.contains("ttyUSB0") && why.contains("ttyUSB1") && hint.contains("by-path"), "{why} ({hint})");
    assert_eq!(ambiguous(&sys, &dev, &found[0], &at("dev/ttyUSB0")), None, "a socket is one adapter's");
    // A number of its own tells an adapter from all others.
    fs::write(at("sys/devices/usb1/1-3/serial"), "A5069RR4\n").unwrap();
    assert_eq!(ambiguous(&sys, &dev, &path, &at("dev/ttyUSB1")), None);
    assert!(ports_in(&sys, &dev).iter().any(|port| port.path == path));
}

#[test]
fn a_port_without_a_stable_name_is_listed_by_its_number_and_a_missing_node_is_a_problem() {
    let root = tree();
    fs::remove_dir_all(root.path().join("dev/serial")).unwrap();
    fs::remove_file(root.path().join("dev/ttyUSB0")).unwrap();
    let found = ports_in(&root.path().join("sys"), &root.path().join("dev"));
    assert!(found[0].path.ends_with("dev/ttyUSB0"), "{found:?}");
    assert!(found[0].problem.as_deref().unwrap().contains("no permission"), "{found:?}");
    assert_eq!(ports_in(Path::new("/nowhere"), Path::new("/nowhere")), []);
}
