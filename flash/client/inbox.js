// @ts-check
/**
 * The events that have come and wait to be applied, in their order.
 *
 * They are applied in slices: the first with the next frame, the others, if there are many, as soon as the page has
 * answered its user and drawn. What a slice holds of updates is applied together. `applied` is the id of the last
 * event that is done: the connection acknowledges it, and goes on from there when it was cut.
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
    const page = /** @type {any} */ (window);
    const {updates} = page.flash;

    /** Milliseconds for which updates are applied in one go: half a frame. */
    const SLICE = 8;
    /** Milliseconds after which a frame that does not come is not waited for: the page may be out of sight. */
    const LATE = 100;

    /** @type {Received[]} */
    let queue = [];
    /** The id of the last event that was handled; its updates may not have been applied. */
    let handled = '';
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
    }

    /**
     * An event has come.
     * @param {Received} event
     */
    function push(event) {
        queue.push(event);
        if (document.hidden) {
            hurry();
        } else if (frame === 0) {
            frame = requestAnimationFrame(work);
            late = window.setTimeout(work, LATE);
        }
    }

    /** Do not wait for a frame: a page that is hidden has none. */
    function hurry() {
        hop.port2.postMessage(null);
    }

    /** The id of the last event that has come. */
    function last() {
        return queue.length > 0 ? queue[queue.length - 1].id : inbox.applied;
    }

    /** The life is over, and with it what has come of it; what has come behind the event at hand is of the next. */
    function forget() {
        handled = inbox.applied = '';
    }

    /** What waits is not to be applied any more. */
    function clear() {
        queue = [];
    }

    /**
     * The updates of a stream that was cut short and that wait to be applied are not worth their time any more.
     * @param {{stream: string, reason: string}} ending
     */
    function abandon({stream, reason}) {
        if (reason !== 'completed' && reason !== 'failed') {
            const start = `{"stream":${JSON.stringify(stream)},`;
            queue = queue.filter(({name, text}) => name !== 'props' || !text.startsWith(start));
        }
    }

    /** Apply what has come. A slice also ends where a component is to see each value by itself: see `updates.adds`. */
    function work() {
        cancelAnimationFrame(frame);
        clearTimeout(late);
        frame = 0;
        const until = performance.now() + SLICE;
        let pause = false;
        while (queue.length > 0 && !pause) {
            const event = /** @type {Received} */ (queue.shift());
            if (!host.standing() && event.name !== 'hello') {
                continue;
            }
            try {
                pause = handle(event);
            } catch (error) {
                console.error(`Flash: an event could not be handled: ${event.name}.`, error);
            }
            if (host.standing() && event.id !== '') {
                handled = event.id;
            }
            pause ||= performance.now() > until;
        }
        settle();
        host.sliced();
        if (queue.length > 0) {
            hurry();
        }
    }

    /** Apply what was collected. */
    function settle() {
        updates.flush();
        inbox.applied = handled;
    }

    /**
     * Handle an event; says whether the page is to draw before the next.
     * @param {Received} event
     */
    function handle(event) {
        const {name} = event;
        const data = event.data ?? JSON.parse(event.text);
        if (name !== 'props') {
            // In its turn: what came before it has been applied then.
            settle();
            host.handlers[name](data);
            return false;
        }
        const adding = data.props.some((/** @type {[any, any]} */ [, props]) => updates.adds(props));
        if (adding && data.props.length > 1) {
            // One at a time. The event has been applied when the last of them has.
            const [first, ...rest] = data.props;
            queue.unshift({...event, data: {...data, props: rest}});
            event.id = '';
            data.props = [first];
        }
        host.handlers[name](data);
        return adding;
    }

    const inbox = {begin, push, last, forget, clear, abandon, applied: ''};
    Object.assign(page.flash, {inbox});
})();
