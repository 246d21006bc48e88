// @ts-check
/**
 * The events that have come and wait to be applied, in their order.
 *
 * They are applied in slices: the first with the next frame, the others, if there are many, as soon as the page has
 * answered its user and drawn. The updates of an event go to `updates.js`, and the next event waits until those of the
 * last one have been taken from there. `applied` is the id of the last event that is done: the connection acknowledges
 * it, and goes on from there when it was cut.
 *
 * A classic script: Dash serves component files as such.
 */

/**
 * @typedef {{name: string, text: string, data: any, id: string}} Received  an event, and its data once parsed
 * @typedef {object} Host  what the inbox needs of the connection
 * @property {Record<string, (data: any) => void>} handlers  what is to be done with each event
 * @property {() => boolean} standing  whether the page has a life, which only `hello` gives it
 * @property {() => void} sliced  called after each slice
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {wire, updates, asynchronous} = flash;
    const {onChange} = flash.renderer;

    /** Milliseconds for which updates are applied in one go: half a frame. */
    const SLICE = 8;
    /** Milliseconds after which a frame that does not come is not waited for: the page may be out of sight. */
    const LATE = 100;

    /** @type {Received[]} */
    let queue = [];
    /** The id of the last event that was handled, and of the one before: whose updates may not have been applied. */
    let handled = '';
    let before = '';
    /** A slice is about to come, not waiting for a frame. */
    let hurried = false;
    /** The frame and the timer that the next slice waits for. */
    let frame = 0;
    let late = 0;
    /** Lets other tasks of the page run before the next slice. */
    const hop = new MessageChannel();
    /** @type {Host} */
    let host;

    /**
     * @param {Host} connection
     */
    function begin(connection) {
        host = connection;
        hop.port1.onmessage = work;
        document.addEventListener('visibilitychange', hurry);
        updates.wake = schedule;
        asynchronous.afterwards(goOn);
        onChange(goOn);
    }

    /** What an update waits for may have happened. */
    function goOn() {
        if (updates.isWaiting() && !updates.applying) {
            hurry();
        }
    }

    /**
     * An event has come.
     * @param {Received} event
     */
    function push(event) {
        queue.push(event);
        schedule();
    }

    /** Have what has come applied: with the next frame, or at once if the page is not shown and need not wait. */
    function schedule() {
        if (document.hidden && !updates.isWaiting()) {
            hurry();
        } else if (frame === 0) {
            frame = requestAnimationFrame(work);
            late = window.setTimeout(work, LATE);
        }
    }

    /** Do not wait for a frame: a page that is hidden has none. */
    function hurry() {
        if (!hurried) {
            hurried = true;
            hop.port2.postMessage(null);
        }
    }

    /** The id of the last event that has come. */
    function last() {
        return queue.length > 0 ? queue[queue.length - 1].id : inbox.applied;
    }

    /** The life is over, and with it what has come of it; what has come behind the event at hand is of the next. */
    function forget() {
        handled = before = inbox.applied = '';
    }

    /** What waits is not to be applied any more. */
    function clear() {
        queue = [];
    }

    /**
     * The updates of a stream that was cut short and that wait to be applied are not worth their time any more.
     * @param {Ending} ending
     */
    function abandon({stream, reason}) {
        if (reason !== 'completed' && reason !== 'failed') {
            const prefix = wire.streamPrefix(stream);
            queue = queue.filter(({name, text}) => name !== 'props' || !text.startsWith(prefix));
            updates.drop(stream);
        }
    }

    /** Apply what has come. A slice also ends where an update has to wait: see `updates.js`. */
    function work() {
        cancelAnimationFrame(frame);
        clearTimeout(late);
        frame = 0;
        hurried = false;
        const until = performance.now() + SLICE;
        while (updates.run(until) && queue.length > 0 && performance.now() < until) {
            handle(/** @type {Received} */ (queue.shift()));
        }
        const done = settle(until);
        host.sliced();
        if (updates.isWaiting()) {
            schedule();
        } else if (queue.length > 0 || !done) {
            hurry();
        }
    }

    /**
     * Apply what was handled, as far as there is time; says whether that was all.
     * @param {number} until
     */
    function settle(until) {
        const done = updates.run(until);
        updates.commit();
        inbox.applied = done ? handled : before;
        return done;
    }

    /**
     * Handle an event, all updates before which have been taken in.
     * @param {Received} event
     */
    function handle({name, text, data, id}) {
        if (!host.standing() && name !== 'hello') {
            return;
        }
        if (name === 'ping') {
            // What it asks is how far the page has come.
            settle(Infinity);
        }
        before = handled;
        try {
            host.handlers[name](data ?? wire.parse(name, text));
        } catch (error) {
            console.error(`Flash: an event could not be handled: ${name}.`, error);
        }
        if (host.standing() && id !== '') {
            handled = id;
        }
    }

    const inbox = {begin, push, last, forget, clear, abandon, applied: ''};
    Object.assign(flash, {inbox});
})();
