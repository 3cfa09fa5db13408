/* A librealsense with one camera on a plug: the real library (LIBRARY) whose recording (BAG) counts as a camera with the
   serial number SERIAL, as long as the file PLUG exists. All other functions are the real ones: the loader finds them in
   the library that this one needs. */

#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int plugged(void) {
    return access(PLUG, F_OK) == 0;
}

static void *real(const char *name) {
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_NOLOAD);
    void *found = library ? dlsym(library, name) : NULL;
    if (!found) abort();
    return found;
}

/* What is plugged in: the recording is known to each context as a device. */
void *rs2_create_context(int version, void **error) {
    void *(*create)(int, void **) = real("rs2_create_context");
    void *(*add)(void *, const char *, void **) = real("rs2_context_add_device");
    void *context = create(version, error);
    if (context && plugged() && !add(context, BAG, error)) return NULL;
    return context;
}

/* A camera is asked for by its serial number; what is given is the recording, without an end. */
void rs2_config_enable_device(void *config, const char *serial, void **error) {
    void (*named)(void *, const char *, void **) = real("rs2_config_enable_device");
    void (*played)(void *, const char *, int, void **) = real("rs2_config_enable_device_from_file_repeat_option");
    if (plugged() && strcmp(serial, SERIAL) == 0) played(config, BAG, 1, error);
    else named(config, serial, error);
}

/* Nothing comes through a cable that is pulled. */
int rs2_pipeline_poll_for_frames(void *pipeline, void **frames, void **error) {
    int (*poll)(void *, void **, void **) = real("rs2_pipeline_poll_for_frames");
    return plugged() ? poll(pipeline, frames, error) : 0;
}

int rs2_device_hub_is_device_connected(void *hub, void *device, void **error) {
    (void)hub, (void)device, (void)error;
    return plugged();
}
