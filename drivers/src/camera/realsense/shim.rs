//! The functions of librealsense that realsense-rust calls, so that nothing has to be linked.
//!
//! realsense-rust declares them as foreign and leaves it to the linker to find them. Here each is a jump to wherever
//! [`fill`] found it in the library that was loaded at run time. Arguments and results are not touched on the way, so
//! a name is all that has to be known of a function.
// Machine code by hand, in this file only.
#![allow(unsafe_code)]

use std::arch::naked_asm;
use std::ffi::c_void;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Stands in for every function until there is a library. Nothing calls it: a camera is opened with a library only.
extern "C" fn no_library() {
    // A panic must not unwind into the caller, which believes it calls C.
    std::process::abort()
}

macro_rules! functions {
    ($($name:ident)*) => {
        /// The names that a library must have.
        pub(super) const NAMES: &[&str] = &[$(stringify!($name)),*];

        /// Where each function is, in the order of [`NAMES`].
        static ADDRESSES: &[&AtomicPtr<c_void>] = &[$(&address::$name),*];

        #[allow(non_upper_case_globals, reason = "named as the functions are")]
        mod address {
            use super::*;
            $(pub(super) static $name: AtomicPtr<c_void> = AtomicPtr::new(no_library as *mut c_void);)*
        }

        $(
            // SAFETY: a tail jump with every register and the stack as the caller left them, so it is called as
            // whatever it leads to. x16 is the register that the calling convention leaves to such stubs.
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name() {
                #[cfg(target_arch = "x86_64")]
                naked_asm!("jmp qword ptr [rip + {}]", sym address::$name);
                #[cfg(target_arch = "aarch64")]
                naked_asm!("adrp x16, {0}", "ldr x16, [x16, :lo12:{0}]", "br x16", sym address::$name);
            }
        )*
    };
}

// `the_list_is_what_realsense_rust_calls` compares them; one that is missing does not link.
functions! {
    rs2_clone_stream_profile rs2_config_can_resolve rs2_config_disable_all_streams
    rs2_config_disable_indexed_stream rs2_config_disable_stream rs2_config_enable_all_stream
    rs2_config_enable_device rs2_config_enable_device_from_file_repeat_option
    rs2_config_enable_record_to_file rs2_config_enable_stream rs2_config_resolve rs2_context_add_device
    rs2_context_remove_device rs2_create_align rs2_create_colorizer rs2_create_config rs2_create_context
    rs2_create_decimation_filter_block rs2_create_device rs2_create_device_from_sensor
    rs2_create_device_hub rs2_create_disparity_transform_block rs2_create_frame_queue
    rs2_create_hole_filling_filter_block rs2_create_pipeline rs2_create_pointcloud rs2_create_sensor
    rs2_create_spatial_filter_block rs2_create_temporal_filter_block rs2_create_threshold
    rs2_delete_config rs2_delete_context rs2_delete_device rs2_delete_device_hub rs2_delete_device_list
    rs2_delete_frame_queue rs2_delete_pipeline rs2_delete_pipeline_profile rs2_delete_processing_block
    rs2_delete_sensor rs2_delete_sensor_list rs2_delete_stream_profile rs2_delete_stream_profiles_list
    rs2_depth_frame_get_distance rs2_depth_stereo_frame_get_baseline rs2_device_hub_is_device_connected
    rs2_device_hub_wait_for_device rs2_embedded_frames_count rs2_extract_frame rs2_free_error
    rs2_get_device_count rs2_get_device_info rs2_get_error_message rs2_get_extrinsics
    rs2_get_frame_bits_per_pixel rs2_get_frame_data rs2_get_frame_data_size rs2_get_frame_height
    rs2_get_frame_metadata rs2_get_frame_number rs2_get_frame_points_count rs2_get_frame_sensor
    rs2_get_frame_stream_profile rs2_get_frame_stride_in_bytes rs2_get_frame_texture_coordinates
    rs2_get_frame_timestamp rs2_get_frame_timestamp_domain rs2_get_frame_vertices rs2_get_frame_width
    rs2_get_librealsense_exception_type rs2_get_motion_intrinsics rs2_get_option rs2_get_option_range
    rs2_get_region_of_interest rs2_get_sensor_info rs2_get_sensors_count rs2_get_stream_profile
    rs2_get_stream_profile_data rs2_get_stream_profiles rs2_get_stream_profiles_count
    rs2_get_video_stream_intrinsics rs2_hardware_reset rs2_is_frame_extendable_to rs2_is_option_read_only
    rs2_is_sensor_extendable_to rs2_is_stream_profile_default rs2_option_to_string
    rs2_pipeline_poll_for_frames rs2_pipeline_profile_get_device rs2_pipeline_profile_get_streams
    rs2_pipeline_start rs2_pipeline_start_with_config rs2_pipeline_stop rs2_pipeline_try_wait_for_frames
    rs2_poll_for_frame rs2_pose_frame_get_pose_data rs2_process_frame rs2_query_devices_ex
    rs2_query_sensors rs2_register_extrinsics rs2_release_frame rs2_set_option rs2_set_region_of_interest
    rs2_start_processing_queue rs2_supports_device_info rs2_supports_frame_metadata rs2_supports_option
    rs2_supports_sensor_info rs2_timestamp_domain_to_string rs2_wait_for_frame
}

/// Leads each function to its address, in the order of [`NAMES`].
pub(super) fn fill(addresses: &[*mut c_void]) {
    for (slot, address) in ADDRESSES.iter().zip(addresses) {
        slot.store(*address, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cargo_metadata::MetadataCommand;

    use super::*;

    #[test]
    fn the_list_is_what_realsense_rust_calls() {
        let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let options = ["--offline".to_owned(), "--filter-platform".to_owned(), host];
        let metadata = MetadataCommand::new().other_options(options).exec().unwrap();
        let package = metadata.packages.iter().find(|package| package.name == "realsense-rust").unwrap();
        let call = regex::Regex::new(r"\b(rs2_[a-z0-9_]+) *\(").unwrap();
        let mut called = BTreeSet::new();
        let mut folders = vec![package.manifest_path.with_file_name("src").into_std_path_buf()];
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let text = std::fs::read_to_string(path).unwrap();
                    called.extend(call.captures_iter(&text).map(|found| found[1].to_owned()));
                }
            }
        }
        let listed: BTreeSet<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(listed, called);
        assert_eq!(NAMES.len(), called.len(), "a name is listed twice");
    }
}
