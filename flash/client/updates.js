// @ts-check
/**
 * Applies updates to the layout in the order in which they came, so that each one is drawn.
 *
 * Updates wait in one queue, whatever has brought them: the events `props`, `open` and `end` of a stream, or the page
 * itself when its server is lost. `run` moves them from the queue into a batch, and `commit` sets and draws a batch at
 * once. React draws only the last of several values that are set at once. So an update that would replace a value in
 * the batch has the batch drawn first. Only a stream that conflates has its older values replaced undrawn.
 *
 * An update waits, and all behind it wait with it, while
 *
 * - its component is busy with the props of an earlier update: see `busy_components.js`;
 * - a callback has yet to be called with the value that the update would replace. This holds for a page in view: in a
 *   hidden one, callbacks are called once a second, with the newest values.
 *
 * Each of the two waits has a timeout. When that is over the update is applied, and later ones do not wait for the same
 * component or callbacks again until these have been found ready.
 *
 * A classic script: Dash serves component files as such.
 */

/**
 * @typedef {[Id, Props]} Pair  a component and the props to set on it; the id may be a pattern
 * @typedef {object} Update
 * @property {Pair[]} pairs  those that have not been taken into a batch yet
 * @property {string | null} stream  the id of the stream that has sent it; null if it is the page's own
 * @property {boolean} conflates
 * @property {string | null} output  the Outputs of the callback that has sent it, which it does not call again
 * @typedef {object} Entry  the props of one component in a batch
 * @property {Id} id
 * @property {Props} props
 * @property {boolean} conflates  whether its stream does
 * @property {boolean} replaced  whether a later entry has newer values, so that this one is not set
 * @property {string | null} output  the Outputs of the callback that has sent it, which it does not call again
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {nameOf, isPattern, resolve, component, isPatch, changesLayout, set, draw, isAwaited} = flash.renderer;
    const {busyComponents, mistakes} = flash;
    const {isDrawnApart} = busyComponents;

    /** Milliseconds for which an update waits for its component, which may have to be loaded first. */
    const COMPONENT_TIMEOUT = 2_000;
    /** Milliseconds for which an update waits for callbacks: one may come behind another that takes long. */
    const CALLBACKS_TIMEOUT = 250;

    /** @type {Update[]} */
    let queue = [];
    /** @type {Entry[]} */
    let batch = [];
    /** The entries of the batch, by the id of their component. @type {Map<string, Entry[]>} */
    const touched = new Map();
    /** What the first update of the queue waits for, and since when. @type {{what: string, since: number} | null} */
    let waiting = null;
    /** Components and callbacks that were waited for until the timeout. @type {Set<string>} */
    const timedOut = new Set();

    /** Called when a batch has been applied. @type {() => void} */
    let applied = () => undefined;

    /**
     * Put updates into the queue, to be applied by `run` and `commit`.
     * @param {Pair[]} pairs
     * @param {{stream: string, output: string | null, conflate: boolean} | null} [of]  the stream that has sent them;
     *     null if they are the page's own
     */
    function put(pairs, of = null) {
        if (pairs.length > 0) {
            const stream = of && of.stream;
            const {output, conflate} = of ?? {output: null, conflate: false};
            queue.push({pairs: [...pairs], stream, output, conflates: conflate});
        }
    }

    /**
     * Forget the updates of a stream that have not been applied.
     * @param {string} stream
     */
    function drop(stream) {
        queue = queue.filter(update => update.stream !== stream);
    }

    /**
     * Move updates from the queue into the batch; says whether none is left. If some are, because the first one has to
     * wait or the time is over, the batch has been applied.
     * @param {number} until  on the clock of `performance`
     */
    function run(until) {
        for (; queue.length > 0; queue.shift()) {
            const update = queue[0];
            while (update.pairs.length > 0) {
                const [id, props] = update.pairs[0];
                if (isPattern(id)) {
                    /** @type {Pair[]} */
                    const each = resolve(id).map((/** @type {Id} */ one) => [one, props]);
                    update.pairs.splice(0, 1, ...each);
                } else if (take(id, props, update)) {
                    update.pairs.shift();
                } else {
                    commit();
                    return false;
                }
                if (performance.now() > until && update.pairs.length > 0) {
                    commit();
                    return false;
                }
            }
        }
        return true;
    }

    /**
     * Take one update into the batch; says whether it was taken. If not, it has to wait.
     * @param {Id} id
     * @param {Props} props
     * @param {Update} update
     */
    function take(id, props, {conflates, output}) {
        const found = component(id);
        if (found === undefined) {
            mistakes.componentMissing(id, props);
            return true;
        }
        const brings = changesLayout(id, props);
        if (brings || clashes(id, found, props, conflates)) {
            commit();
        }
        if (mustWait(id, props, conflates)) {
            return false;
        }
        const entry = {id, props, conflates, replaced: false, output};
        batch.push(entry);
        const entries = touched.get(nameOf(id));
        entries === undefined ? touched.set(nameOf(id), [entry]) : entries.push(entry);
        if (brings) {
            // The next updates may be for components that this one brings.
            commit();
        }
        return true;
    }

    /**
     * Whether the batch has to be drawn before an update is added. Older values of a stream that conflates are marked
     * as replaced instead.
     * @param {Id} id
     * @param {Component} found
     * @param {Props} props
     * @param {boolean} conflates
     */
    function clashes(id, found, props, conflates) {
        const before = touched.get(nameOf(id));
        if (before === undefined) {
            return false;
        }
        if (isDrawnApart(found, props) || before.some(entry => isDrawnApart(found, entry.props))) {
            return true;
        }
        for (const entry of before) {
            const names = Object.keys(entry.props);
            if (!entry.conflates && names.some(name => name in props)) {
                return true;
            }
            if (conflates && isWhole(props) && isWhole(entry.props) && names.every(name => name in props)) {
                entry.replaced = true;
            }
        }
        return false;
    }

    /**
     * Whether props are whole values: a Patch depends on the value before it.
     * @param {Props} props
     */
    function isWhole(props) {
        return !Object.values(props).some(isPatch);
    }

    /**
     * Whether an update cannot be applied yet.
     * @param {Id} id
     * @param {Props} props
     * @param {boolean} conflates
     */
    function mustWait(id, props, conflates) {
        const found = component(id);
        if (found === undefined) {
            return false;
        }
        if (isToBeAwaited(`component ${nameOf(id)}`, busyComponents.isBusy(id, found, props), COMPONENT_TIMEOUT)) {
            return true;
        }
        const callbacks =
            !conflates && !document.hidden && Object.keys(props).some(property => isAwaited(id, property));
        return isToBeAwaited(`callbacks ${nameOf(id)}`, callbacks, CALLBACKS_TIMEOUT);
    }

    /**
     * Whether an update still has to wait for a component or for callbacks.
     * @param {string} what  names them
     * @param {boolean} pending  whether they are not ready
     * @param {number} timeout  milliseconds
     */
    function isToBeAwaited(what, pending, timeout) {
        if (!pending) {
            timedOut.delete(what);
            if (waiting?.what === what) {
                waiting = null;
            }
            return false;
        }
        if (timedOut.has(what)) {
            return false;
        }
        if (waiting?.what !== what) {
            waiting = {what, since: performance.now()};
        } else if (performance.now() - waiting.since > timeout) {
            waiting = null;
            timedOut.add(what);
            return false;
        }
        return true;
    }

    /** Apply the batch, and have it drawn. */
    function commit() {
        if (batch.length === 0) {
            return;
        }
        const entries = batch;
        batch = [];
        touched.clear();
        updates.applying = true;
        try {
            draw(() => entries.forEach(apply));
        } finally {
            updates.applying = false;
        }
        applied();
    }

    /**
     * Set the props of one entry of a batch.
     * @param {Entry} entry
     */
    function apply({id, props, replaced, output}) {
        const found = component(id);
        if (found === undefined) {
            mistakes.componentMissing(id, props);
        }
        if (replaced || found === undefined) {
            return;
        }
        try {
            set(id, busyComponents.prepare(id, found, props), output);
        } catch (error) {
            mistakes.updateFailed(id, props, error);
        }
    }

    /** Apply the updates of the queue, up to the first that has to wait. */
    function flush() {
        if (!run(Infinity)) {
            updates.wake();
        }
        commit();
    }

    /**
     * Call a function after each batch that was applied.
     * @param {() => void} then
     */
    function onApplied(then) {
        applied = then;
    }

    const updates = {
        put,
        drop,
        run,
        commit,
        flush,
        onApplied,
        applying: false,
        /** Whether the first update has to wait: `run` has to be called again when something has changed. */
        isWaiting: () => waiting !== null && queue.length > 0,
        /** Has `run` called with the next frame. The inbox sets it. */
        wake: () => undefined
    };
    Object.assign(flash, {updates});
})();
