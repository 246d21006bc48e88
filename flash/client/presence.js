// @ts-check
/**
 * Which streams have still something to do with what the page shows.
 *
 * A stream depends on the components that it was started from, and on those that it has updated. When none of them is
 * in the layout any more, as when a page of a multi-page app is left, its time is over. A layout changes in steps: a
 * callback takes the old content away, another one brings the new. So the absence has to last: until no callback runs
 * that could bring something, or for a second.
 *
 * A stream with none of its components in the layout from the start, or that has none so far, is left alone until one
 * of them has been there. One that was declared with `keep=True` brings no components, and is never asked.
 *
 * A classic script: Dash serves component files as such.
 */

/**
 * @typedef {object} Watched
 * @property {Map<string, Id>} components  what the stream depends on
 * @property {boolean} present  whether one of them has been in the layout
 * @property {number | null} since  when they were first missed, on the clock of `performance`
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {nameOf, resolve, component, isIdle} = flash.renderer;

    /** Milliseconds between a change of the layout and a look at it, and between two looks while something is missed. */
    const PAUSE = 50;
    /** Milliseconds after which callbacks that run are not waited for. */
    const PATIENCE = 1_000;
    /** How many components of a stream are remembered. */
    const MANY = 500;

    /** The streams that are watched, by id. @type {Map<string, Watched>} */
    const watched = new Map();
    let timer = 0;

    /** Called with the id of a stream that has nothing to do with the page any more. @type {(stream: string) => void} */
    let left = () => undefined;

    /**
     * A stream has opened.
     * @param {string} stream
     * @param {Id[] | null} components  that it was started from; null if it does not depend on any
     */
    function open(stream, components) {
        if (components !== null) {
            watched.set(stream, {
                components: new Map(components.map(id => [nameOf(id), id])),
                present: components.length > 0,
                since: null
            });
            change();
        }
    }

    /**
     * A stream updates components.
     * @param {string} stream
     * @param {Pair[]} pairs
     */
    function update(stream, pairs) {
        const components = watched.get(stream)?.components;
        if (components !== undefined && components.size < MANY) {
            pairs.forEach(([id]) => components.set(nameOf(id), id));
        }
    }

    /**
     * A stream is over.
     * @param {string} stream
     */
    function end(stream) {
        watched.delete(stream);
    }

    /** The layout has changed. */
    function change() {
        if (timer === 0 && watched.size > 0) {
            timer = window.setTimeout(look, PAUSE);
        }
    }

    /** Look which streams have lost all their components. */
    function look() {
        timer = 0;
        const now = performance.now();
        let missed = false;
        for (const [stream, known] of watched) {
            if ([...known.components.values()].some(isPresent)) {
                known.present = true;
                known.since = null;
            } else if (known.present && known.since === null) {
                known.since = now;
                missed = true;
            } else if (known.since !== null && (isIdle() || now - known.since > PATIENCE)) {
                end(stream);
                left(stream);
            } else if (known.since !== null) {
                missed = true;
            }
        }
        if (missed) {
            change();
        }
    }

    /**
     * @param {Id} id
     */
    function isPresent(id) {
        return resolve(id).some((/** @type {Id} */ one) => component(one) !== undefined);
    }

    /**
     * Have `then` called with the id of each stream that loses all its components.
     * @param {(stream: string) => void} then
     */
    function watch(then) {
        left = then;
    }

    Object.assign(flash, {presence: {open, update, end, change, watch}});
})();
