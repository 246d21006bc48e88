// @ts-check
/**
 * Has a page that is loaded, or was cut off, follow the sources that still run: of event callbacks with `resume=True`.
 *
 * For each of them the page sends the request that would start a stream, with a field that says that none is to be
 * started: the server has the page follow the source for these Inputs and States, if there is one. It does so once the page
 * stands still, so that its Inputs have the values that its other callbacks give them. A component of these Inputs and
 * States may come with another page of a multi-page app, and go again: whenever they have come, the page asks. It asks
 * again for a stream that was lost because the page was cut off for too long, as soon as it has a link.
 *
 * A classic script: Dash serves component files as such.
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {wire, renderer, requests, streams} = flash;

    /** Milliseconds between a change of the layout and the look at it. */
    const CHECK_DELAY = 50;

    /** The hidden components of the event callbacks with `resume=True`. @type {string[]} */
    let resumable = [];
    /** Those of them that the page has asked for. */
    const asked = new Set();
    /** Whether the page is about to look. */
    let isDue = false;

    /** After a change of the layout: look soon, once for many changes. */
    function checkSoon() {
        if (!isDue) {
            isDue = true;
            setTimeout(() => {
                isDue = false;
                check();
            }, CHECK_DELAY);
        }
    }

    /** Ask for the sources whose Inputs and States have come. */
    function check() {
        if (!renderer.isIdle()) {
            return;
        }
        for (const id of resumable) {
            const start = renderer.startOf(id);
            const body = start === null ? null : renderer.callBody(start);
            if (body === null) {
                asked.delete(id);
            } else if (!asked.has(id)) {
                asked.add(id);
                if (!isRunning(id)) {
                    requests.startAgain({...body, [wire.RESUME_FIELD]: true});
                }
            }
        }
    }

    /**
     * Ask once more for the sources of these event callbacks: the page has lost its streams of them, and has a link again.
     * @param {string[]} callbacks  the ids of their hidden components
     */
    function ask(callbacks) {
        const again = callbacks.filter(id => asked.delete(id));
        if (again.length > 0) {
            checkSoon();
        }
    }

    /** Whether the page has a stream of an event callback. @param {string} id */
    function isRunning(id) {
        return [...streams.running.values()].some(({callback_id}) => callback_id === id);
    }

    /** The page has its layout. */
    function begin() {
        resumable = renderer
            .stringIds()
            .filter((/** @type {string} */ id) => renderer.component(id)?.props.resumes === true);
        if (resumable.length > 0) {
            renderer.onChange(checkSoon);
            checkSoon();
        }
    }

    Object.assign(flash, {resume: {begin, ask}});
})();
