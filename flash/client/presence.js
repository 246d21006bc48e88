// @ts-check
/**
 * Finds the streams whose components have all left the layout: they are to end.
 *
 * The components of a stream are those that it was started from and those that it has updated. All of them leave when
 * the user goes from one page of a multi-page app to another, for instance. A layout changes in steps: one callback
 * removes the old content, another inserts the new. So a stream ends only when its components are still absent once no
 * callback runs that could insert them, or after a second.
 *
 * A stream none of whose components has been in the layout so far is left alone until one appears. A stream that was
 * declared with `keep=True` has no components here and never ends in this way.
 *
 * A classic script: Dash serves component files as such.
 */

/**
 * @typedef {object} Watched  what is known of a stream
 * @property {Map<string, Id>} components  those of the stream, by id
 * @property {boolean} wasPresent  whether one of them has been in the layout
 * @property {number | null} absentSince  when none of them was there any more, on the clock of `performance`; null if
 *     one is there, or none has been so far
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {nameOf, resolve, component, isIdle} = flash.renderer;

    /** Milliseconds from a change of the layout to a check, and between two checks while components are absent. */
    const CHECK_DELAY = 50;
    /** Milliseconds that callbacks may take to insert a stream's components again. */
    const INSERT_TIMEOUT = 1_000;
    /** The number of components that are remembered of a stream. */
    const MAX_COMPONENTS = 500;

    /** The streams that are watched, by id. @type {Map<string, Watched>} */
    const watched = new Map();
    /** Calls `check`; 0 while none is due. */
    let timer = 0;

    /** Called with the id of a stream whose components have left. @type {(stream: string) => void} */
    let reportLeft = () => undefined;

    /**
     * A stream has opened.
     * @param {string} stream
     * @param {Id[] | null} components  that it was started from; null if it does not depend on any
     */
    function open(stream, components) {
        if (components !== null) {
            watched.set(stream, {
                components: new Map(components.map(id => [nameOf(id), id])),
                wasPresent: components.length > 0,
                absentSince: null
            });
            checkSoon();
        }
    }

    /**
     * A stream updates components.
     * @param {string} stream
     * @param {Pair[]} pairs
     */
    function update(stream, pairs) {
        const components = watched.get(stream)?.components;
        if (components !== undefined && components.size < MAX_COMPONENTS) {
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

    /** The layout has changed, or components are absent: check the streams after a while. */
    function checkSoon() {
        if (timer === 0 && watched.size > 0) {
            timer = window.setTimeout(check, CHECK_DELAY);
        }
    }

    /** Find the streams that have lost all their components. */
    function check() {
        timer = 0;
        const now = performance.now();
        let someAbsent = false;
        for (const [stream, known] of watched) {
            if ([...known.components.values()].some(isPresent)) {
                known.wasPresent = true;
                known.absentSince = null;
            } else if (known.wasPresent && known.absentSince === null) {
                known.absentSince = now;
                someAbsent = true;
            } else if (known.absentSince !== null && (isIdle() || now - known.absentSince > INSERT_TIMEOUT)) {
                end(stream);
                reportLeft(stream);
            } else if (known.absentSince !== null) {
                someAbsent = true;
            }
        }
        if (someAbsent) {
            checkSoon();
        }
    }

    /**
     * Whether the layout has a component with this id.
     * @param {Id} id
     */
    function isPresent(id) {
        return resolve(id).some((/** @type {Id} */ one) => component(one) !== undefined);
    }

    /**
     * Call a function with the id of each stream that loses all its components.
     * @param {(stream: string) => void} then
     */
    function onLeft(then) {
        reportLeft = then;
    }

    Object.assign(flash, {presence: {open, update, end, checkSoon, onLeft}});
})();
