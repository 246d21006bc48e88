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
    const {nameOf, isPattern, resolve, component, isPatch, changesLayout, set, draw, hasDueCall} = flash.renderer;
    const {busyComponents, mistakes} = flash;
    const {needsOwnBatch} = busyComponents;

    /** Milliseconds for which an update waits for its component, which may have to be loaded first. */
    const COMPONENT_TIMEOUT = 2_000;
    /**
     * Milliseconds for which an update waits for callbacks to be called: one may come behind another that takes long.
     */
    const CALL_TIMEOUT = 250;

    /** The updates that are in no batch yet. @type {Update[]} */
    let queue = [];
    /** What is set and drawn next, at once. @type {Entry[]} */
    let batch = [];
    /** The entries of the batch, by the id of their component. @type {Map<string, Entry[]>} */
    const entriesByComponent = new Map();
    /** What the first update of the queue waits for, and since when. @type {{what: string, since: number} | null} */
    let waiting = null;
    /** Components and callbacks that were waited for until the timeout. @type {Set<string>} */
    const timedOut = new Set();

    /** Called after each batch that was applied. @type {() => void} */
    let afterBatch = () => undefined;

    /**
     * Put updates into the queue, to be applied by `run` and `commit`.
     * @param {Pair[]} pairs
     * @param {{stream: string | null, output: string | null, conflate: boolean}} [sender]  the stream that has sent
     *     them; without it they are the page's own
     */
    function put(pairs, {stream, output, conflate} = {stream: null, output: null, conflate: false}) {
        if (pairs.length > 0) {
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
     * wait or the deadline has come, the batch has been applied.
     * @param {number} deadline  on the clock of `performance`
     */
    function run(deadline) {
        for (; queue.length > 0; queue.shift()) {
            const update = queue[0];
            while (update.pairs.length > 0) {
                const [id, props] = update.pairs[0];
                if (isPattern(id)) {
                    /** @type {Pair[]} */
                    const pairs = resolve(id).map((/** @type {Id} */ one) => [one, props]);
                    update.pairs.splice(0, 1, ...pairs);
                } else if (addToBatch(id, props, update)) {
                    update.pairs.shift();
                } else {
                    commit();
                    return false;
                }
                if (performance.now() > deadline && update.pairs.length > 0) {
                    commit();
                    return false;
                }
            }
        }
        return true;
    }

    /**
     * Add the props of one component to the batch; says whether they were added. If not, they have to wait.
     * @param {Id} id
     * @param {Props} props
     * @param {Update} update
     */
    function addToBatch(id, props, {conflates, output}) {
        const found = component(id);
        if (found === undefined) {
            mistakes.componentMissing(id, props);
            return true;
        }
        const bringsComponents = changesLayout(id, props);
        if (bringsComponents || needsBatchDrawn(id, found, props, conflates)) {
            commit();
        }
        if (mustWait(id, props, conflates)) {
            return false;
        }
        const entry = {id, props, conflates, replaced: false, output};
        batch.push(entry);
        const entries = entriesByComponent.get(nameOf(id));
        entries === undefined ? entriesByComponent.set(nameOf(id), [entry]) : entries.push(entry);
        if (bringsComponents) {
            // The next updates may be for these components.
            commit();
        }
        return true;
    }

    /**
     * Whether the batch has to be drawn before these props are added. Older values of a stream that conflates are
     * marked as replaced instead.
     * @param {Id} id
     * @param {Component} found
     * @param {Props} props
     * @param {boolean} conflates
     */
    function needsBatchDrawn(id, found, props, conflates) {
        const earlier = entriesByComponent.get(nameOf(id));
        if (earlier === undefined) {
            return false;
        }
        if (needsOwnBatch(found, props) || earlier.some(entry => needsOwnBatch(found, entry.props))) {
            return true;
        }
        for (const entry of earlier) {
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
     * Whether props cannot be set yet: their component is busy, or callbacks have to be called with the value before.
     * @param {Id} id
     * @param {Props} props
     * @param {boolean} conflates
     */
    function mustWait(id, props, conflates) {
        const found = component(id);
        if (found === undefined) {
            return false;
        }
        const isBusy = busyComponents.isBusy(id, found, props);
        if (mayWaitFor(`component ${nameOf(id)}`, isBusy, COMPONENT_TIMEOUT)) {
            return true;
        }
        const haveDueCalls =
            !conflates && !document.hidden && Object.keys(props).some(property => hasDueCall(id, property));
        return mayWaitFor(`callbacks ${nameOf(id)}`, haveDueCalls, CALL_TIMEOUT);
    }

    /**
     * Whether an update is to wait, now or still, for a component or for callbacks: if these are not ready, and it has
     * not waited for them until the timeout.
     * @param {string} what  names them
     * @param {boolean} isPending  whether they are not ready
     * @param {number} timeout  milliseconds
     */
    function mayWaitFor(what, isPending, timeout) {
        if (!isPending) {
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
        entriesByComponent.clear();
        updates.applying = true;
        try {
            draw(() => entries.forEach(apply));
        } finally {
            updates.applying = false;
        }
        afterBatch();
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
        afterBatch = then;
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
