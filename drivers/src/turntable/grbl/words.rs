//! GRBL's numbers in words, with what a person has to do. Source: the alarm and error code tables of GRBL 1.1.

/// What an alarm number says. The controller takes no motion until a person has looked at it.
pub(super) fn alarm(code: u16) -> String {
    let what = match code {
        1 => "a limit switch was hit; free the table and look at the switch",
        2 => "a target beyond the controller's soft limits; check $130 and the recipe's angles",
        3 => "it was reset while it moved, its position is lost",
        4 | 5 => "its probe input failed; check the probe wires",
        6 => "homing was reset; home it again",
        7 => "the safety door opened during homing; close it",
        8 => "homing could not leave its switch; check the switch and $27",
        9 => "homing did not find its switch; check the switch and $130",
        10 => "homing found no switch of a second motor; check its wires",
        11 | 12 => "it has to be homed first",
        17 => "a motor driver reports a fault; look at the motor and its driver",
        _ => "an alarm that is in no table of ours; look it up in the controller's manual",
    };
    format!(
        "ALARM:{code}: {what}. It is locked: find its home, or unlock it at the controller when the table is clear"
    )
}

/// The lock-out, where its number was told before we listened.
pub(super) const LOCKED: &str = "it is in alarm and locked: find its home, or unlock it at the controller when the \
                                 table is clear";

/// What an error number says.
pub(super) fn error(code: u16) -> String {
    let what = match code {
        1 | 2 | 20 | 24..=38 => "it does not understand this line; is its firmware GRBL 1.1 or newer?",
        3 => "it does not know this command",
        5 => "homing is switched off; set $22 or home = false",
        8 => "it must be idle for this",
        9 => "it is locked by an alarm; unlock it at the controller when the table is clear",
        10 => "its soft limits need homing",
        13 => "its safety door is open",
        15 => "the target lies beyond its soft limits",
        22 => "no speed is set",
        _ => "an error that is in no table of ours; look it up in the controller's manual",
    };
    format!("error:{code}: {what}")
}
