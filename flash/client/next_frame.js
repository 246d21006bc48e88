// @ts-check
/**
 * Calls a function with the next frame, or after a timeout: a page that is not in view gets no frames.
 *
 * A classic script: Dash serves component files as such.
 */

(function () {
    const {flash} = /** @type {any} */ (window);

    /** Milliseconds to wait for a frame. */
    const FRAME_TIMEOUT = 100;

    /**
     * Call a function once, with the next frame or after the timeout.
     * @param {() => void} callback
     * @returns {() => void}  cancels the call
     */
    function onNextFrame(callback) {
        const call = () => {
            cancel();
            callback();
        };
        const frame = requestAnimationFrame(call);
        const timer = setTimeout(call, FRAME_TIMEOUT);
        const cancel = () => {
            cancelAnimationFrame(frame);
            clearTimeout(timer);
        };
        return cancel;
    }

    Object.assign(flash, {onNextFrame});
})();
